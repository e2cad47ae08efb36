-- Second factors that are listed and taken away, and subjects of providers that a person links.
--
-- A route's effect is the app's, confined to the caller's tenant. So the app may list its tenant's second factors and take them away; that it reads neither
-- a seed nor a key is said by column privileges. It can add none, nor say that one was given: both stay the worker's.

ALTER TABLE totp_secrets ADD COLUMN last_used_at timestamptz;
UPDATE totp_secrets SET last_used_at = to_timestamp(last_step * 30) WHERE last_step >= 0;

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['totp_secrets', 'webauthn_credentials'] LOOP
        EXECUTE format('CREATE POLICY own_tenant ON %I TO plimsoll_app USING (tenant_id = ANY (current_tenants()))', name);
        EXECUTE format('GRANT DELETE ON %I TO plimsoll_app', name);
    END LOOP;
END
$$;
GRANT SELECT (tenant_id, user_id, created_at, confirmed_at, last_used_at) ON totp_secrets TO plimsoll_app;
GRANT SELECT (tenant_id, user_id, credential_id, label, created_at, last_used_at, cloned_at) ON webauthn_credentials TO plimsoll_app;

-- Who goes to a provider to link its subject, and not to sign in: the session in which they do.
ALTER TABLE oidc_requests ADD COLUMN session_id uuid;
ALTER TABLE oidc_requests ADD FOREIGN KEY (tenant_id, session_id) REFERENCES sessions (tenant_id, session_id) ON DELETE CASCADE;
CREATE INDEX oidc_requests_session ON oidc_requests (tenant_id, session_id) WHERE session_id IS NOT NULL;
