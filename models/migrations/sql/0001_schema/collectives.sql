-- Collectives and who belongs to them.

-- Any entity: user, community, nonprofit, business or event.
CREATE TABLE collective (
    id uuid CONSTRAINT pk_collective PRIMARY KEY,
    slug text NOT NULL,
    type text NOT NULL,
    name text NOT NULL,
    legal_name text,
    description text,
    website text,
    location text,
    timezone text,
    image_url text,
    tags text[] NOT NULL DEFAULT '{}',
    currency text NOT NULL,
    host_id uuid,
    host_approved_at timestamptz,
    parent_id uuid,
    host_fee_bps integer,  -- The rate its host charges this collective; null means the host's default rate.
    settings jsonb NOT NULL DEFAULT '{}',
    is_platform boolean NOT NULL DEFAULT false,  -- The one nonprofit that runs this installation.
    starts_at timestamptz,
    ends_at timestamptz,
    capacity integer,
    -- False hides an event from everyone but its members and its parent's admins.
    is_public boolean NOT NULL DEFAULT true,
    credit_policy text,
    coordinator_id uuid,  -- The contact person for an event's attendees.
    cancelled_at timestamptz,  -- When the event was cancelled.
    issuer_approved_at timestamptz,  -- When a nonprofit was approved to issue currents.
    merged_into_id uuid,  -- The user into whom this account was merged.
    -- When the user verified the email address; null for a user known by email alone.
    claimed_at timestamptz,
    archived_at timestamptz,
    created_by_id uuid,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT uq_collective_slug UNIQUE (slug),
    CONSTRAINT ck_collective_type_known CHECK (
        type IN ('USER', 'COMMUNITY', 'NONPROFIT', 'BUSINESS', 'EVENT')),
    CONSTRAINT ck_collective_slug_form CHECK (
        slug ~ '^[a-z0-9]+(-[a-z0-9]+)*$' AND length(slug) BETWEEN 2 AND 64),
    CONSTRAINT ck_collective_host_fee_bps_range CHECK (host_fee_bps BETWEEN 0 AND 10000),
    CONSTRAINT ck_collective_event_has_times CHECK (
        (type = 'EVENT') = (starts_at IS NOT NULL) AND (type = 'EVENT') = (ends_at IS NOT NULL)),
    CONSTRAINT ck_collective_event_has_parent CHECK (type <> 'EVENT' OR parent_id IS NOT NULL),
    CONSTRAINT ck_collective_event_ends_after_start CHECK (ends_at > starts_at),
    CONSTRAINT ck_collective_capacity_positive CHECK (capacity > 0),
    CONSTRAINT ck_collective_platform_is_nonprofit CHECK (NOT is_platform OR type = 'NONPROFIT'),
    CONSTRAINT ck_collective_issuer_is_nonprofit CHECK (issuer_approved_at IS NULL OR type = 'NONPROFIT'),
    CONSTRAINT ck_collective_cancelled_is_event CHECK (cancelled_at IS NULL OR type = 'EVENT'),
    CONSTRAINT ck_collective_merged_is_archived_user CHECK (
        merged_into_id IS NULL OR (type = 'USER' AND archived_at IS NOT NULL AND merged_into_id <> id)),
    CONSTRAINT ck_collective_credit_policy_known CHECK (credit_policy IN ('FULL_EVENT', 'ACTUAL'))
);

-- A former slug of a collective; it keeps redirecting there.
CREATE TABLE slug_redirect (
    slug text CONSTRAINT pk_slug_redirect PRIMARY KEY,
    collective_id uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- `member` holds `role` in `collective` from `since` to `until`; null is open-ended.
CREATE TABLE member (
    id uuid CONSTRAINT pk_member PRIMARY KEY,
    collective_id uuid NOT NULL,
    member_id uuid NOT NULL,
    role text NOT NULL,
    since timestamptz NOT NULL DEFAULT now(),
    until timestamptz,
    created_by_id uuid,
    CONSTRAINT ck_member_role_known CHECK (
        role IN ('HOST', 'ADMIN', 'ACCOUNTANT', 'MEMBER', 'BACKER', 'VOLUNTEER', 'ATTENDEE', 'WAITING',
                 'FOLLOWER')),
    CONSTRAINT ck_member_until_after_since CHECK (until >= since)
);

-- An invitation to a role, and the invitee's answer.
CREATE TABLE invitation (
    id uuid CONSTRAINT pk_invitation PRIMARY KEY,
    collective_id uuid NOT NULL,
    user_id uuid NOT NULL,
    role text NOT NULL,
    -- True if invited by address: the user behind it stays hidden until they accept.
    by_email boolean NOT NULL DEFAULT false,
    message text,
    status text NOT NULL,
    created_by_id uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    answered_at timestamptz,
    CONSTRAINT ck_invitation_role_known CHECK (
        role IN ('HOST', 'ADMIN', 'ACCOUNTANT', 'MEMBER', 'BACKER', 'VOLUNTEER', 'ATTENDEE', 'WAITING',
                 'FOLLOWER')),
    CONSTRAINT ck_invitation_status_known CHECK (status IN ('PENDING', 'ACCEPTED', 'DECLINED'))
);

-- A collective's application to a host to hold its money.
CREATE TABLE host_application (
    id uuid CONSTRAINT pk_host_application PRIMARY KEY,
    collective_id uuid NOT NULL,
    host_id uuid NOT NULL,
    message text,
    status text NOT NULL,
    reason text,
    created_by_id uuid NOT NULL,
    decided_by_id uuid,
    created_at timestamptz NOT NULL DEFAULT now(),
    decided_at timestamptz,
    CONSTRAINT ck_host_application_status_known CHECK (status IN ('PENDING', 'ACCEPTED', 'DECLINED'))
);
