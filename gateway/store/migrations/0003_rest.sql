-- Conditional writes: those with the same custodian, type and criteria queue up on one of a bounded number of rows.
CREATE TABLE cond_lock (part SMALLINT NOT NULL, key BIGINT NOT NULL, taken BIGINT NOT NULL, PRIMARY KEY (part, key)) {{norowid}};

-- Idempotency-Key: what a client's write did, without bodies, for as long as it may ask again. key is a hash.
CREATE TABLE once (client {{text}} NOT NULL, key {{text}} NOT NULL, request {{text}} NOT NULL, at BIGINT NOT NULL, reply {{text}} NOT NULL,
  PRIMARY KEY (client, key)) {{norowid}};
CREATE INDEX once_at ON once (at);

-- Which records vouch for a Binary: its securityContext (rank 0), or the documents that point at it (rank 1).
-- bid is the Binary's id, known or not; rid is the row that says so.
CREATE TABLE binary_link (part SMALLINT NOT NULL, bid {{text}} NOT NULL, rank SMALLINT NOT NULL, rid BIGINT NOT NULL,
  type {{text}} NOT NULL, id {{text}} NOT NULL, PRIMARY KEY (part, bid, rank, rid)) {{norowid}};
CREATE INDEX binary_link_rid ON binary_link (part, rid);
