-- Every change of markets, insurance_fund and admin_users, with who and what, before and after.
CREATE OR REPLACE FUNCTION public.audit_change() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    -- What the daemon changes thousands of times a day is not a decision of anybody's.
    unremarkable text[] := ARRAY['updated_at'] || CASE TG_TABLE_NAME
        WHEN 'markets' THEN ARRAY['current_funding_rate', 'last_funding_time'] ELSE '{}' END;
    before jsonb := CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END;
    after jsonb := CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END;
    changed text[];
    claims jsonb := auth.jwt();
BEGIN
    IF TG_OP = 'UPDATE' THEN
        changed := ARRAY(SELECT key FROM jsonb_each(after) WHERE before -> key IS DISTINCT FROM value);
        IF changed <@ unremarkable THEN
            RETURN NULL;
        END IF;
        before := (SELECT jsonb_object_agg(key, value) FROM jsonb_each(before) WHERE key = ANY (changed));
        after := (SELECT jsonb_object_agg(key, value) FROM jsonb_each(after) WHERE key = ANY (changed));
    END IF;
    INSERT INTO public.admin_audit_logs (admin_user_id, action, resource, resource_id, details, ip_address, user_agent)
    VALUES ((SELECT a.id FROM public.admin_users AS a WHERE a.id::text = claims ->> 'admin_user_id'),
            lower(TG_OP), TG_TABLE_NAME, coalesce(NEW.id, OLD.id),
            jsonb_build_object('before', public.without_secrets(before), 'after', public.without_secrets(after),
                               'database_role', coalesce(nullif(current_setting('role', true), 'none'), session_user),
                               'wallet_address', claims ->> 'wallet_address'),
            inet_client_addr(),
            nullif(current_setting('request.headers', true), '')::jsonb ->> 'user-agent');
    RETURN NULL;
END $$;
COMMENT ON FUNCTION public.audit_change() IS 'Trigger of markets, insurance_fund, admin_users: writes the change into admin_audit_logs';

CREATE OR REPLACE FUNCTION public.without_secrets(row_image jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN row_image ? 'password_hash' THEN row_image || '{"password_hash": "(not shown)"}' ELSE row_image END
$$;
COMMENT ON FUNCTION public.without_secrets(jsonb) IS 'Part of audit_change: a row without its password hash';

CREATE OR REPLACE TRIGGER markets_audit AFTER INSERT OR UPDATE OR DELETE ON public.markets
    FOR EACH ROW EXECUTE FUNCTION public.audit_change();
CREATE OR REPLACE TRIGGER insurance_fund_audit AFTER INSERT OR UPDATE OR DELETE ON public.insurance_fund
    FOR EACH ROW EXECUTE FUNCTION public.audit_change();
CREATE OR REPLACE TRIGGER admin_users_audit AFTER INSERT OR UPDATE OR DELETE ON public.admin_users
    FOR EACH ROW EXECUTE FUNCTION public.audit_change();
