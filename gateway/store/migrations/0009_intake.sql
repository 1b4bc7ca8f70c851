-- What a record's keeper last sent of it, as far as FHIR holds it: view is the record in the shape of its schema, pack the
-- version that mapped it. sid is the row's number; differs is 1 when what was stored then is not what was sent alone, because
-- changes made elsewhere are in it, and 2 when it is, but spelled as somebody else did.
CREATE TABLE sent (
  part SMALLINT NOT NULL, org {{text}} NOT NULL, kind {{text}} NOT NULL, rec {{text}} NOT NULL,
  sid BIGINT NOT NULL, at BIGINT NOT NULL, differs SMALLINT NOT NULL, pack {{text}} NOT NULL, view {{text}} NOT NULL,
  PRIMARY KEY (part, org, kind, rec)) {{norowid}};
CREATE INDEX sent_pack ON sent (part, kind, pack, org, rec);
-- The record's own resources, each in the version that delivery left it in: another version now is a change made elsewhere.
-- plain is 1 when that is what was sent alone.
CREATE TABLE sent_res (
  part SMALLINT NOT NULL, sid BIGINT NOT NULL, rid BIGINT NOT NULL, ver INTEGER NOT NULL, plain SMALLINT NOT NULL,
  PRIMARY KEY (part, sid, rid)) {{norowid}};
