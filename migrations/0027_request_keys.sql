-- A request is looked up by what tells it from all others first. With the tenant in front, a plan that was made while the tables were all but empty could
-- take the index over tenants for it, and then read all of a tenant's rows for each request.

ALTER TABLE managed_transactions DROP CONSTRAINT managed_transactions_tenant_id_request_id_operation_type_key;
ALTER TABLE managed_transactions ADD CONSTRAINT managed_transactions_request UNIQUE NULLS NOT DISTINCT (request_id, tenant_id, operation_type);
ALTER TABLE user_transactions DROP CONSTRAINT user_transactions_tenant_id_request_id_operation_type_key;
ALTER TABLE user_transactions ADD CONSTRAINT user_transactions_request UNIQUE (request_id, tenant_id, operation_type);
