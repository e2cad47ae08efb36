-- A tenant's operator has a signer hand over, too. The app's role sets the mark through this alone: once, and nobody takes it back. Of which signers it may, the grants say, which are configuration.
CREATE FUNCTION rotate_signer(of_chain bigint, old_address text, new_address text)
RETURNS TABLE (address text, rotated_to text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = plimsoll, pg_temp
AS $$
BEGIN
    -- In the order in which whoever gives a nonce locks them. What is told is how they were.
    RETURN QUERY SELECT s.address, s.rotated_to FROM signers s WHERE s.chain_id = of_chain AND s.address IN (old_address, new_address)
        ORDER BY s.address FOR NO KEY UPDATE;
    UPDATE signers s SET rotated_to = new_address, rotated_at = clock_timestamp()
    WHERE s.chain_id = of_chain AND s.address = old_address AND s.rotated_to IS NULL
      AND EXISTS (SELECT FROM signers n WHERE n.chain_id = of_chain AND n.address = new_address AND n.rotated_to IS NULL);
END
$$;
REVOKE ALL ON FUNCTION rotate_signer(bigint, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION rotate_signer(bigint, text, text) TO plimsoll_app, plimsoll_worker;
