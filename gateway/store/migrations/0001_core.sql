-- Dictionaries: small, append-only, cached in process, numbered from 1. kind: 1 resource type, 2 search parameter
-- ("Type.code"), 3 token system, 4 organisation, 5 purpose, 6 unit of measure ("system|code").
CREATE TABLE dict (kind SMALLINT NOT NULL, no INTEGER NOT NULL, name {{text}} NOT NULL, PRIMARY KEY (kind, no));
CREATE UNIQUE INDEX dict_name ON dict (kind, name);
CREATE TABLE setting (name {{text}} NOT NULL PRIMARY KEY, value {{blob}} NOT NULL);
-- Row keys are taken from here in blocks.
CREATE TABLE counter (name {{text}} NOT NULL PRIMARY KEY, value BIGINT NOT NULL);
CREATE TABLE segment (seg INTEGER NOT NULL PRIMARY KEY, key {{text}} NOT NULL, body {{text}} NOT NULL);
CREATE UNIQUE INDEX segment_key ON segment (key);

-- Registry: who may ask.
CREATE TABLE organization (id {{text}} NOT NULL PRIMARY KEY, body {{text}} NOT NULL);
CREATE TABLE client (id {{text}} NOT NULL PRIMARY KEY, organization {{text}} NOT NULL, body {{text}} NOT NULL);

-- Resources. One head row each; a body per version, written once. ver 0 is a key reserved by a reference: no
-- resource yet. lo and hi are the clinical period; compartments are kept in its order. seq names the body.
CREATE TABLE res (
  rid BIGINT NOT NULL, pat BIGINT NOT NULL, seq BIGINT NOT NULL, upd BIGINT NOT NULL, hash BIGINT NOT NULL, lo BIGINT NOT NULL, hi BIGINT NOT NULL,
  type_no INTEGER NOT NULL, ver INTEGER NOT NULL, seg INTEGER NOT NULL, part SMALLINT NOT NULL, npat SMALLINT NOT NULL, del SMALLINT NOT NULL,
  id {{text}} NOT NULL, PRIMARY KEY (part, rid)) {{norowid}};
CREATE UNIQUE INDEX res_id ON res (part, type_no, id);
CREATE INDEX res_pat ON res (part, pat, type_no, lo, rid);
CREATE INDEX res_type ON res (part, type_no, rid);
CREATE TABLE res_also (part SMALLINT NOT NULL, rid BIGINT NOT NULL, pat BIGINT NOT NULL, PRIMARY KEY (part, rid, pat)) {{norowid}};
CREATE INDEX res_also_pat ON res_also (part, pat, rid);
-- A version keeps what decided about it when it was written: an old version may be about another patient,
-- segment or time than the head, and a reader must be allowed both.
CREATE TABLE body (
  seq {{rowkey}} NOT NULL, rid BIGINT NOT NULL, at BIGINT NOT NULL, pat BIGINT NOT NULL, lo BIGINT NOT NULL, hi BIGINT NOT NULL,
  type_no INTEGER NOT NULL, ver INTEGER NOT NULL, seg INTEGER NOT NULL, part SMALLINT NOT NULL, npat SMALLINT NOT NULL, op SMALLINT NOT NULL,
  enc SMALLINT NOT NULL, doc {{blob}} NOT NULL, PRIMARY KEY ({{rowkeys}}seq));
CREATE UNIQUE INDEX body_ver ON body (part, rid, ver);

-- Index values. The key begins with the patient compartment; the second index serves searches across patients,
-- in the order of resources under one value where values are compared for equality. Rows of a resource are
-- found again by computing them from its body.
CREATE TABLE idx_token (pat BIGINT NOT NULL, rid BIGINT NOT NULL, param INTEGER NOT NULL, sys INTEGER NOT NULL, part SMALLINT NOT NULL,
  code {{text}} NOT NULL, PRIMARY KEY (part, pat, param, code, rid, sys)) {{norowid}};
CREATE INDEX idx_token_v ON idx_token (part, param, code, rid, sys);
CREATE TABLE idx_ref (pat BIGINT NOT NULL, rid BIGINT NOT NULL, target BIGINT NOT NULL, param INTEGER NOT NULL, part SMALLINT NOT NULL,
  PRIMARY KEY (part, pat, param, target, rid)) {{norowid}};
CREATE INDEX idx_ref_t ON idx_ref (part, target, param, rid);
CREATE TABLE idx_uri (pat BIGINT NOT NULL, rid BIGINT NOT NULL, param INTEGER NOT NULL, part SMALLINT NOT NULL,
  uri {{text}} NOT NULL, PRIMARY KEY (part, pat, param, uri, rid)) {{norowid}};
CREATE INDEX idx_uri_v ON idx_uri (part, param, uri, rid);
CREATE TABLE idx_date (pat BIGINT NOT NULL, rid BIGINT NOT NULL, lo BIGINT NOT NULL, hi BIGINT NOT NULL, param INTEGER NOT NULL, part SMALLINT NOT NULL,
  PRIMARY KEY (part, pat, param, lo, hi, rid)) {{norowid}};
CREATE INDEX idx_date_v ON idx_date (part, param, lo, hi, rid);
CREATE TABLE idx_number (pat BIGINT NOT NULL, rid BIGINT NOT NULL, lo BIGINT NOT NULL, hi BIGINT NOT NULL, param INTEGER NOT NULL, unit INTEGER NOT NULL, part SMALLINT NOT NULL,
  PRIMARY KEY (part, pat, param, unit, lo, hi, rid)) {{norowid}};
CREATE INDEX idx_number_v ON idx_number (part, param, unit, lo, hi, rid);
CREATE TABLE idx_string (pat BIGINT NOT NULL, rid BIGINT NOT NULL, param INTEGER NOT NULL, part SMALLINT NOT NULL,
  folded {{text}} NOT NULL, exact {{text}} NOT NULL, PRIMARY KEY (part, pat, param, folded, exact, rid)) {{norowid}};
CREATE INDEX idx_string_v ON idx_string (part, param, folded, rid, exact);
-- One row for each element a composite parameter takes together.
CREATE TABLE idx_element (pat BIGINT NOT NULL, rid BIGINT NOT NULL, alo BIGINT NOT NULL, ahi BIGINT NOT NULL, blo BIGINT NOT NULL, bhi BIGINT NOT NULL,
  param INTEGER NOT NULL, asys INTEGER NOT NULL, bsys INTEGER NOT NULL, part SMALLINT NOT NULL, acode {{text}} NOT NULL, bcode {{text}} NOT NULL,
  PRIMARY KEY (part, pat, param, acode, bcode, asys, bsys, blo, bhi, alo, ahi, rid)) {{norowid}};
CREATE INDEX idx_element_v ON idx_element (part, param, acode, bcode, rid, asys, bsys, blo, bhi, alo, ahi);

-- Consent in the query plan. epoch rises with every change of a patient's facts, segments or shared records, and of
-- what decides about a record; also is set once a record is filed under this patient and another.
CREATE TABLE patient_state (pat BIGINT NOT NULL, epoch BIGINT NOT NULL, part SMALLINT NOT NULL, also SMALLINT NOT NULL, PRIMARY KEY (part, pat)) {{norowid}};
CREATE TABLE patient_segment (pat BIGINT NOT NULL, seg INTEGER NOT NULL, part SMALLINT NOT NULL, PRIMARY KEY (part, pat, seg)) {{norowid}};
CREATE TABLE grants (
  pat BIGINT NOT NULL, vfrom BIGINT NOT NULL, vto BIGINT NOT NULL, dlo BIGINT NOT NULL, dhi BIGINT NOT NULL, rfrom BIGINT NOT NULL, rto BIGINT NOT NULL,
  org INTEGER NOT NULL, purpose INTEGER NOT NULL, seg INTEGER NOT NULL, type_no INTEGER NOT NULL, part SMALLINT NOT NULL, effect SMALLINT NOT NULL,
  PRIMARY KEY (part, pat, org, purpose, seg, type_no, effect, rto, vfrom, dlo, dhi, rfrom)) {{norowid}};

-- OAuth state.
CREATE TABLE oauth_token (signature {{text}} NOT NULL PRIMARY KEY, request_id {{text}} NOT NULL, expires BIGINT NOT NULL, body {{text}} NOT NULL);
CREATE INDEX oauth_token_request ON oauth_token (request_id);
CREATE INDEX oauth_token_expires ON oauth_token (expires);
CREATE TABLE oauth_assertion (issuer {{text}} NOT NULL, jti {{text}} NOT NULL, expires BIGINT NOT NULL, PRIMARY KEY (issuer, jti));
CREATE INDEX oauth_assertion_expires ON oauth_assertion (expires);

-- Audit log. A pack is the leaves of one group commit, durable first and numbered later: done of its n leaves
-- have an index, given by the runs. A tile is 256 hashes of the tree in the order of their stored index.
CREATE TABLE audit_pack (seq BIGINT NOT NULL PRIMARY KEY, n INTEGER NOT NULL, done INTEGER NOT NULL, open SMALLINT NOT NULL, body {{blob}} NOT NULL);
CREATE INDEX audit_pack_open ON audit_pack (seq) WHERE open=1;
CREATE TABLE audit_run (first BIGINT NOT NULL PRIMARY KEY, n INTEGER NOT NULL, pack BIGINT NOT NULL, start INTEGER NOT NULL);
CREATE TABLE audit_tile (tile BIGINT NOT NULL PRIMARY KEY, hashes {{blob}} NOT NULL);
CREATE TABLE audit_checkpoint (size BIGINT NOT NULL PRIMARY KEY, note {{blob}} NOT NULL);
CREATE TABLE audit_lease (name {{text}} NOT NULL PRIMARY KEY, holder {{text}} NOT NULL, fence BIGINT NOT NULL, expires BIGINT NOT NULL);
INSERT INTO audit_lease (name,holder,fence,expires) VALUES ('sequencer','',0,0);

-- Deliveries to partners.
CREATE TABLE delivery (part SMALLINT NOT NULL, did BIGINT NOT NULL, partner {{text}} NOT NULL, pat BIGINT NOT NULL, state {{text}} NOT NULL,
  next_at BIGINT NOT NULL, body {{text}} NOT NULL, PRIMARY KEY (part, did));
CREATE INDEX delivery_due ON delivery (part, state, next_at);
CREATE INDEX delivery_lane ON delivery (part, partner, pat, did);
