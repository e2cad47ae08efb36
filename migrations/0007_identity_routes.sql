-- What the API's own role may do with keys and sessions, and what a tenant chose for itself.
--
-- A route commits its idempotency key, its effect, its audit entry and its answer in one transaction, which is the app's, confined to the caller's
-- tenant. So the app may list, issue, rotate and revoke its tenant's keys and list and end its sessions; that it reads no hash is said by column privileges,
-- and row-level security keeps it in its tenant. What proves an identity is still looked up by the worker alone.

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['api_keys', 'sessions'] LOOP
        EXECUTE format('CREATE POLICY own_tenant ON %I TO plimsoll_app USING (tenant_id = ANY (current_tenants()))'
                       ' WITH CHECK (tenant_id = ANY (current_tenants()))', name);
    END LOOP;
END
$$;
GRANT SELECT (key_id, tenant_id, user_id, label, scopes, certificate_hash, created_at, rotated_at, expires_at, last_used_at, revoked_at),
      INSERT (key_id, tenant_id, user_id, label, secret_hash, scopes, certificate_hash, expires_at),
      UPDATE (secret_hash, previous_valid_until, rotated_at, revoked_at) ON api_keys TO plimsoll_app;
GRANT SELECT, UPDATE (revoked_at, revoke_reason) ON sessions TO plimsoll_app;

-- A rotation keeps the secret before. The table does it: whoever rotates need not read the hash, nor can they make one up.
CREATE FUNCTION keep_previous_secret() RETURNS trigger
LANGUAGE plpgsql SET search_path = plimsoll, pg_temp
AS $$ BEGIN NEW.previous_hash := OLD.secret_hash; RETURN NEW; END $$;
CREATE TRIGGER api_keys_rotate BEFORE UPDATE OF secret_hash ON api_keys FOR EACH ROW EXECUTE FUNCTION keep_previous_secret();

-- What a tenant chose for itself. A tenant without a row chose nothing.
CREATE TABLE tenant_settings (
    tenant_id  uuid  PRIMARY KEY REFERENCES tenants,
    theme      jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(theme) = 'object'),
    updated_at timestamptz NOT NULL DEFAULT now()
);
ALTER TABLE tenant_settings ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenant_settings FORCE ROW LEVEL SECURITY;
CREATE POLICY owner_all ON tenant_settings TO plimsoll_owner USING (true) WITH CHECK (true);
CREATE POLICY own_tenant ON tenant_settings TO plimsoll_app USING (tenant_id = ANY (current_tenants()))
    WITH CHECK (tenant_id = ANY (current_tenants()));
GRANT SELECT, INSERT, UPDATE (theme, updated_at) ON tenant_settings TO plimsoll_app;
GRANT SELECT ON tenant_settings TO plimsoll_worker;
