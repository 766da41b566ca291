-- What budgets have used, and what calls under way hold of it: see package usage, Ledger. A counter is
-- updated by every call that it counts, so its pages keep room for that.
CREATE TABLE budget_counters (
    project_id  text COLLATE "C" NOT NULL,
    counter     text COLLATE "C" NOT NULL,
    cost        bigint NOT NULL,          -- spent: micro-cents
    tokens      bigint NOT NULL,
    calls       bigint NOT NULL,
    millis      bigint NOT NULL,
    held_cost   bigint NOT NULL DEFAULT 0,
    held_tokens bigint NOT NULL DEFAULT 0,
    held_calls  bigint NOT NULL DEFAULT 0,
    held_millis bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (project_id, counter)
) WITH (fillfactor = 50);

CREATE TABLE budget_holds (
    project_id text COLLATE "C" NOT NULL,
    hold       text COLLATE "C" NOT NULL,
    counter    text COLLATE "C" NOT NULL,
    session_id text COLLATE "C" NOT NULL,
    at         bigint NOT NULL,           -- Unix milliseconds
    cost       bigint NOT NULL,
    tokens     bigint NOT NULL,
    calls      bigint NOT NULL,
    millis     bigint NOT NULL,
    PRIMARY KEY (project_id, hold, counter)
);

CREATE INDEX budget_holds_by_age ON budget_holds (at, project_id, hold);
