-- A store as version 1 left it. Never change this file: it stands for the files that people have.

CREATE TABLE conversations (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    title TEXT NOT NULL DEFAULT '',
    created_at REAL NOT NULL,
    updated_at REAL NOT NULL,
    head_id INTEGER REFERENCES turns (id) DEFERRABLE INITIALLY DEFERRED,
    overrides TEXT NOT NULL DEFAULT '{}',
    n_turns INTEGER NOT NULL DEFAULT 0,
    deleted_at REAL,
    deleted_by TEXT
);
CREATE TABLE turns (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    conversation_id INTEGER NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
    parent_id INTEGER,
    role TEXT NOT NULL,
    text TEXT NOT NULL DEFAULT '',
    reasoning TEXT NOT NULL DEFAULT '',
    state TEXT NOT NULL,
    error TEXT NOT NULL DEFAULT '',
    created_at REAL NOT NULL,
    record TEXT,
    owner TEXT,
    UNIQUE (conversation_id, id),
    FOREIGN KEY (conversation_id, parent_id) REFERENCES turns (conversation_id, id)
        DEFERRABLE INITIALLY DEFERRED
);
CREATE TABLE memory (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX turns_by_parent ON turns (conversation_id, parent_id);
CREATE INDEX turns_being_written ON turns (owner) WHERE owner IS NOT NULL;
CREATE INDEX questions ON turns (id) WHERE role = 'user';
CREATE INDEX conversations_by_head ON conversations (head_id);
CREATE INDEX conversations_by_age ON conversations (updated_at DESC, id DESC) WHERE deleted_at IS NULL;
PRAGMA application_id = 1667789933;
PRAGMA user_version = 1;

INSERT INTO conversations (id, title, created_at, updated_at, head_id, overrides, n_turns)
VALUES (1, 'First?', 1000.5, 1003.5, NULL, '{}', 3),
       (2, 'Zweite', 2000.5, 2001.5, NULL, '{"sampling":{"temperature":0.5}}', 2);
INSERT INTO conversations (id, title, created_at, updated_at, n_turns, deleted_at, deleted_by)
VALUES (3, 'Deleted', 500, 500, 0, 600, '00000000deadbeef');

INSERT INTO turns (id, conversation_id, parent_id, role, text, reasoning, state, created_at, record, owner)
VALUES (1, 1, NULL, 'user', 'First?', '', 'finished', 1000.5, NULL, NULL),
       (2, 1, 1, 'assistant', 'Answer one.', '', 'stopped', 1001.5, '{"model_name":"Tiny","seed":41}', NULL),
       (3, 1, 1, 'assistant', 'Answer two.', 'Hm.', 'finished', 1003.5,
        '{"model_name":"Tiny","sampling":{"temperature":0.8,"stop":[]},"seed":42,"n_generated":3,"reason":"end"}', NULL),
       (4, 2, NULL, 'user', 'Zweite', '', 'finished', 2000.5, NULL, NULL),
       (5, 2, 4, 'assistant', 'Half an ans', '', 'writing', 2001.5, '{"model_name":"Tiny"}', '00000000deadbeef');
UPDATE conversations SET head_id = 3 WHERE id = 1;
UPDATE conversations SET head_id = 5 WHERE id = 2;
INSERT INTO memory VALUES ('sidebar', '{"width":30}');
