-- Risk alerts, staff, and the log of what staff and services changed.
CREATE TABLE IF NOT EXISTS public.risk_alerts (
    id           uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id      uuid        NOT NULL REFERENCES public.users (id) ON DELETE CASCADE,
    market_id    uuid        NOT NULL REFERENCES public.markets (id),
    position_id  uuid        REFERENCES public.positions (id),
    alert_type   text        NOT NULL CHECK (alert_type <> ''),
    severity     public.risk_level NOT NULL,
    message      text        NOT NULL,
    is_resolved  boolean     NOT NULL DEFAULT false,
    created_at   timestamptz NOT NULL DEFAULT now(),
    resolved_at  timestamptz
);
CREATE INDEX IF NOT EXISTS risk_alerts_user_id_idx ON public.risk_alerts (user_id, created_at DESC);
CREATE INDEX IF NOT EXISTS risk_alerts_open_idx ON public.risk_alerts (severity, created_at DESC) WHERE NOT is_resolved;
CREATE INDEX IF NOT EXISTS risk_alerts_position_id_idx ON public.risk_alerts (position_id) WHERE position_id IS NOT NULL;
COMMENT ON TABLE public.risk_alerts IS 'Warnings about users'' positions';
COMMENT ON COLUMN public.risk_alerts.id IS 'Key';
COMMENT ON COLUMN public.risk_alerts.user_id IS 'The user it is about';
COMMENT ON COLUMN public.risk_alerts.market_id IS 'The market it is about';
COMMENT ON COLUMN public.risk_alerts.position_id IS 'The position it is about';
COMMENT ON COLUMN public.risk_alerts.alert_type IS 'What is wrong, such as low_margin';
COMMENT ON COLUMN public.risk_alerts.severity IS 'How wrong it is';
COMMENT ON COLUMN public.risk_alerts.message IS 'In words';
COMMENT ON COLUMN public.risk_alerts.is_resolved IS 'True: no longer so';
COMMENT ON COLUMN public.risk_alerts.created_at IS 'When it was raised';
COMMENT ON COLUMN public.risk_alerts.resolved_at IS 'When it was resolved';

CREATE TABLE IF NOT EXISTS public.admin_users (
    id              uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    username        text        NOT NULL UNIQUE CHECK (username <> ''),
    email           text        NOT NULL UNIQUE CHECK (email <> ''),
    password_hash   text        NOT NULL,
    role            public.admin_role NOT NULL DEFAULT 'admin',
    permissions     jsonb       NOT NULL DEFAULT '{}',
    is_active       boolean     NOT NULL DEFAULT true,
    created_by      uuid        REFERENCES public.admin_users (id),
    last_login      timestamptz,
    google_id       text        UNIQUE,
    github_id       text        UNIQUE,
    avatar_url      text,
    oauth_provider  text,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS admin_users_created_by_idx ON public.admin_users (created_by) WHERE created_by IS NOT NULL;
CREATE OR REPLACE TRIGGER admin_users_updated_at BEFORE UPDATE ON public.admin_users
    FOR EACH ROW EXECUTE FUNCTION public.set_updated_at();
COMMENT ON TABLE public.admin_users IS 'Staff with access to the admin panel; read and written by service_role alone';
COMMENT ON COLUMN public.admin_users.id IS 'Key';
COMMENT ON COLUMN public.admin_users.username IS 'Login name';
COMMENT ON COLUMN public.admin_users.email IS 'Address for messages';
COMMENT ON COLUMN public.admin_users.password_hash IS 'Hash of the password; never in the audit log';
COMMENT ON COLUMN public.admin_users.role IS 'What they may do';
COMMENT ON COLUMN public.admin_users.permissions IS 'What they may do beyond the role, a JSON object';
COMMENT ON COLUMN public.admin_users.is_active IS 'False: may not log in';
COMMENT ON COLUMN public.admin_users.created_by IS 'Who made the account';
COMMENT ON COLUMN public.admin_users.last_login IS 'Time of the last login';
COMMENT ON COLUMN public.admin_users.google_id IS 'Subject at Google, for OAuth';
COMMENT ON COLUMN public.admin_users.github_id IS 'Subject at GitHub, for OAuth';
COMMENT ON COLUMN public.admin_users.avatar_url IS 'Picture';
COMMENT ON COLUMN public.admin_users.oauth_provider IS 'google, github; NULL: password';
COMMENT ON COLUMN public.admin_users.created_at IS 'When the row was made';
COMMENT ON COLUMN public.admin_users.updated_at IS 'When the row was changed last';

CREATE TABLE IF NOT EXISTS public.admin_audit_logs (
    id             uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    admin_user_id  uuid        REFERENCES public.admin_users (id),
    action         text        NOT NULL CHECK (action <> ''),
    resource       text        NOT NULL CHECK (resource <> ''),
    resource_id    uuid,
    details        jsonb       NOT NULL DEFAULT '{}',
    ip_address     inet,
    user_agent     text,
    created_at     timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX IF NOT EXISTS admin_audit_logs_created_at_idx ON public.admin_audit_logs (created_at DESC);
CREATE INDEX IF NOT EXISTS admin_audit_logs_resource_idx ON public.admin_audit_logs (resource, resource_id, created_at DESC);
CREATE INDEX IF NOT EXISTS admin_audit_logs_admin_user_id_idx ON public.admin_audit_logs (admin_user_id);
COMMENT ON TABLE public.admin_audit_logs IS 'Who changed what: written by the admin panel, and by a trigger for markets, insurance_fund and admin_users. Nobody but the owner may change or delete a row';
COMMENT ON COLUMN public.admin_audit_logs.id IS 'Key';
COMMENT ON COLUMN public.admin_audit_logs.admin_user_id IS 'The member of staff, where the request names one';
COMMENT ON COLUMN public.admin_audit_logs.action IS 'insert, update, delete, or the admin panel''s own word';
COMMENT ON COLUMN public.admin_audit_logs.resource IS 'Table, or the admin panel''s own word';
COMMENT ON COLUMN public.admin_audit_logs.resource_id IS 'Key of the row';
COMMENT ON COLUMN public.admin_audit_logs.details IS 'By the trigger: before, after (the columns that changed), and database_role, wallet_address';
COMMENT ON COLUMN public.admin_audit_logs.ip_address IS 'Address of the database''s client';
COMMENT ON COLUMN public.admin_audit_logs.user_agent IS 'Program of the request, where it says so';
COMMENT ON COLUMN public.admin_audit_logs.created_at IS 'When it happened';
