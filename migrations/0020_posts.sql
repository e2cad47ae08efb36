-- Those who stand by for a signer each hold a lease under a name of their own. The names of processes that are long gone are removed, and no other lease ever is: its tokens would begin anew.
CREATE FUNCTION forget_standbys() RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = plimsoll, pg_temp
AS $$
    DELETE FROM leases WHERE starts_with(name, 'standby/') AND expires_at < clock_timestamp() - interval '1 day';
$$;
REVOKE ALL ON FUNCTION forget_standbys() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION forget_standbys() TO plimsoll_worker;
