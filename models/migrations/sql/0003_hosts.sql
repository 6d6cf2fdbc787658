-- Approved hosts, their suspension, and requests that end by themselves.

ALTER TABLE collective
    ADD COLUMN host_suspended_at timestamptz,
    ADD COLUMN host_suspension_reason text,
    ADD CONSTRAINT ck_collective_host_is_organization CHECK (host_id <> id OR type IN ('NONPROFIT', 'BUSINESS')),
    ADD CONSTRAINT ck_collective_suspended_is_host CHECK (
        host_suspended_at IS NULL OR (host_id IS NOT NULL AND host_id = id AND NOT is_platform)),
    ADD CONSTRAINT ck_collective_suspension_reason CHECK (
        (host_suspended_at IS NULL) = (host_suspension_reason IS NULL));

-- Invitations and host applications expire after 30 days; nobody accepts one later.

ALTER TABLE invitation
    ADD COLUMN expires_at timestamptz NOT NULL DEFAULT now() + interval '30 days',
    DROP CONSTRAINT ck_invitation_status_known,
    ADD CONSTRAINT ck_invitation_status_known CHECK (
        status IN ('PENDING', 'ACCEPTED', 'DECLINED', 'WITHDRAWN', 'EXPIRED')),
    ADD CONSTRAINT ck_invitation_accepted_in_time CHECK (status <> 'ACCEPTED' OR answered_at <= expires_at);

ALTER TABLE host_application
    ADD COLUMN expires_at timestamptz NOT NULL DEFAULT now() + interval '30 days',
    DROP CONSTRAINT ck_host_application_status_known,
    ADD CONSTRAINT ck_host_application_status_known CHECK (
        status IN ('PENDING', 'ACCEPTED', 'DECLINED', 'WITHDRAWN', 'EXPIRED')),
    ADD CONSTRAINT ck_host_application_accepted_in_time CHECK (status <> 'ACCEPTED' OR decided_at <= expires_at);

-- Hosts of earlier versions have the application that hosts need now.

INSERT INTO host_application (id, collective_id, host_id, status, reason, created_by_id, decided_by_id, decided_at)
SELECT gen_random_uuid(), h.id, h.id, 'ACCEPTED', 'Host of an earlier version', p.id, p.id, now()
FROM collective h, collective p
WHERE h.host_id = h.id AND NOT h.is_platform AND p.is_platform;
