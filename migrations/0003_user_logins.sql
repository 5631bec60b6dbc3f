-- 0003_user_logins: the masked rows and the duplicate views for analysts.
-- requires: 0002_audit
-- A table of the original exercise is adopted: grants only, no column added, nothing rewritten. Its owner stays.

BEGIN;

SELECT vault.require_user_logins_shape();

DO $$
BEGIN
    IF to_regclass('public.user_logins') IS NULL THEN
        -- No key and no index: what keeps rows from being counted twice stands in the vault schema, and two
        -- random-order text indexes cost more than the rest of the insert.
        CREATE TABLE public.user_logins (
            user_id          varchar(128),
            device_type      varchar(32),
            masked_ip        varchar(256) COLLATE "C",
            masked_device_id varchar(256) COLLATE "C",
            locale           varchar(32),
            app_version      varchar(32),
            create_date      date,
            masked_ip_net    varchar(256) COLLATE "C"
        );
        COMMENT ON TABLE  public.user_logins               IS 'Login records with personal values replaced by tokens.';
        COMMENT ON COLUMN public.user_logins.create_date   IS 'UTC date the message was sent, or the run date.';
        COMMENT ON COLUMN public.user_logins.masked_ip_net IS 'Token of the /24 (IPv4) or /48 (IPv6) network.';
        ALTER TABLE public.user_logins OWNER TO tokenvault_owner;
    END IF;
END;
$$;

GRANT INSERT ON public.user_logins TO tokenvault_ingest;
GRANT SELECT ON public.user_logins TO tokenvault_analyst, tokenvault_owner;

SET LOCAL ROLE tokenvault_owner;

CREATE VIEW public.duplicate_ips AS
    SELECT login.masked_ip AS token, count(*) AS logins, count(DISTINCT login.user_id) AS distinct_users,
           min(login.create_date) AS first_seen, max(login.create_date) AS last_seen
    FROM public.user_logins AS login
    WHERE login.masked_ip IS NOT NULL
    GROUP BY login.masked_ip
    HAVING count(*) > 1;
COMMENT ON VIEW public.duplicate_ips IS 'Addresses that logged in more than once, by token.';

CREATE VIEW public.duplicate_devices AS
    SELECT login.masked_device_id AS token, count(*) AS logins, count(DISTINCT login.user_id) AS distinct_users,
           min(login.create_date) AS first_seen, max(login.create_date) AS last_seen
    FROM public.user_logins AS login
    WHERE login.masked_device_id IS NOT NULL
    GROUP BY login.masked_device_id
    HAVING count(*) > 1;
COMMENT ON VIEW public.duplicate_devices IS 'Devices that logged in more than once, by token.';

GRANT SELECT ON public.duplicate_ips, public.duplicate_devices TO tokenvault_analyst;

SELECT vault.record_migration(3, 'user_logins');

COMMIT;
