-- What budgets have used, and what calls under way hold of it: see package usage, Ledger.
CREATE TABLE budget_counter (
    project     TEXT    NOT NULL,
    counter     TEXT    NOT NULL,
    cost        INTEGER NOT NULL, -- spent: micro-cents
    tokens      INTEGER NOT NULL,
    calls       INTEGER NOT NULL,
    millis      INTEGER NOT NULL,
    held_cost   INTEGER NOT NULL DEFAULT 0,
    held_tokens INTEGER NOT NULL DEFAULT 0,
    held_calls  INTEGER NOT NULL DEFAULT 0,
    held_millis INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (project, counter)
) STRICT, WITHOUT ROWID;

CREATE TABLE budget_hold (
    project TEXT    NOT NULL,
    hold    TEXT    NOT NULL,
    counter TEXT    NOT NULL,
    session TEXT    NOT NULL,
    at      INTEGER NOT NULL, -- Unix milliseconds
    cost    INTEGER NOT NULL,
    tokens  INTEGER NOT NULL,
    calls   INTEGER NOT NULL,
    millis  INTEGER NOT NULL,
    PRIMARY KEY (project, hold, counter)
) STRICT, WITHOUT ROWID;
CREATE INDEX budget_hold_age ON budget_hold (at, project, hold);
