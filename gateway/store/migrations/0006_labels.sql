-- Under which rule pack a record was labelled (dict kind 8; 0: not known), and which labels its mapping gave it (dict
-- kind 7; 0: none), which nobody could find again by looking at the record.
ALTER TABLE res ADD COLUMN pack INTEGER NOT NULL DEFAULT 0;
ALTER TABLE res ADD COLUMN given INTEGER NOT NULL DEFAULT 0;

-- Records only words say something about: a person has to look. digest names the texts in question; an answer holds for
-- these and no others. state: open, kept or cleared.
CREATE TABLE label_review (
  part SMALLINT NOT NULL, rid BIGINT NOT NULL, digest {{text}} NOT NULL, rules {{text}} NOT NULL, state {{text}} NOT NULL, at BIGINT NOT NULL,
  reviewer {{text}} NOT NULL, outcome {{text}} NOT NULL, settled BIGINT NOT NULL, PRIMARY KEY (part, rid, digest));
CREATE INDEX label_review_state ON label_review (part, state, at);

-- Relabellings, one for each pack or choice of rules a server started with. next is the row key up to which a batch has
-- come: a batch, the labels it changes and next are one transaction. The last one begun is the one that counts.
CREATE TABLE label_job (
  no BIGINT NOT NULL PRIMARY KEY, pack {{text}} NOT NULL, state {{text}} NOT NULL, next BIGINT NOT NULL, done BIGINT NOT NULL,
  changed BIGINT NOT NULL, total BIGINT NOT NULL, started BIGINT NOT NULL, ended BIGINT NOT NULL);
