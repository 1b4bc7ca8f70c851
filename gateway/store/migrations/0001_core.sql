-- Dictionaries: small, append-only, cached in process. kind: 1 resource type, 2 search parameter,
-- 3 token system, 4 organisation, 5 purpose.
CREATE TABLE dict (kind SMALLINT NOT NULL, no BIGINT NOT NULL, name {{text}} NOT NULL, PRIMARY KEY (kind, no));
CREATE UNIQUE INDEX dict_name ON dict (kind, name);
CREATE TABLE setting (name {{text}} NOT NULL PRIMARY KEY, value {{blob}} NOT NULL);
CREATE TABLE segment (seg BIGINT NOT NULL PRIMARY KEY, key {{text}} NOT NULL, body {{text}} NOT NULL);
CREATE UNIQUE INDEX segment_key ON segment (key);

-- Registry: who may ask.
CREATE TABLE organization (id {{text}} NOT NULL PRIMARY KEY, body {{text}} NOT NULL);
CREATE TABLE client (id {{text}} NOT NULL PRIMARY KEY, organization {{text}} NOT NULL, body {{text}} NOT NULL);

-- Resources. One head row each; a body per version, written once.
CREATE TABLE ident (type_no BIGINT NOT NULL, id {{text}} NOT NULL, part BIGINT NOT NULL, rid BIGINT NOT NULL, PRIMARY KEY (type_no, id)) {{norowid}};
CREATE UNIQUE INDEX ident_rid ON ident (rid);
CREATE TABLE res (
  part BIGINT NOT NULL, rid BIGINT NOT NULL, type_no BIGINT NOT NULL, id {{text}} NOT NULL,
  pat BIGINT NOT NULL, npat SMALLINT NOT NULL, ver BIGINT NOT NULL, seq BIGINT NOT NULL, upd BIGINT NOT NULL,
  del SMALLINT NOT NULL, seg BIGINT NOT NULL, hash BIGINT NOT NULL, lo BIGINT NOT NULL, hi BIGINT NOT NULL,
  PRIMARY KEY (part, rid)) {{norowid}};
CREATE UNIQUE INDEX res_id ON res (part, type_no, id);
CREATE INDEX res_pat ON res (part, pat, type_no, rid);
CREATE INDEX res_type ON res (part, type_no, rid);
CREATE TABLE res_also (part BIGINT NOT NULL, rid BIGINT NOT NULL, pat BIGINT NOT NULL, PRIMARY KEY (part, rid, pat)) {{norowid}};
CREATE INDEX res_also_pat ON res_also (part, pat, rid);
-- A version keeps what decided about it when it was written: an old version may be about another patient,
-- segment or time than the head, and a reader must be allowed both.
CREATE TABLE body (
  part BIGINT NOT NULL, rid BIGINT NOT NULL, ver BIGINT NOT NULL, seq BIGINT NOT NULL, at BIGINT NOT NULL,
  type_no BIGINT NOT NULL, pat BIGINT NOT NULL, npat SMALLINT NOT NULL, seg BIGINT NOT NULL, lo BIGINT NOT NULL, hi BIGINT NOT NULL,
  op SMALLINT NOT NULL, enc SMALLINT NOT NULL, doc {{blob}} NOT NULL, spans {{text}} NOT NULL, PRIMARY KEY (part, rid, ver));
CREATE INDEX body_seq ON body (part, seq);

-- Index values. Keys begin with the patient compartment; the second index serves searches across
-- patients, the third checks one resource.
CREATE TABLE idx_token (part BIGINT NOT NULL, pat BIGINT NOT NULL, type_no BIGINT NOT NULL, param BIGINT NOT NULL,
  code {{text}} NOT NULL, sys BIGINT NOT NULL, rid BIGINT NOT NULL, PRIMARY KEY (part, pat, type_no, param, code, sys, rid)) {{norowid}};
CREATE INDEX idx_token_v ON idx_token (part, type_no, param, code, sys, rid);
CREATE INDEX idx_token_r ON idx_token (part, rid, param, code, sys);
CREATE TABLE idx_ref (part BIGINT NOT NULL, pat BIGINT NOT NULL, type_no BIGINT NOT NULL, param BIGINT NOT NULL,
  ttype BIGINT NOT NULL, tid {{text}} NOT NULL, rid BIGINT NOT NULL, PRIMARY KEY (part, pat, type_no, param, ttype, tid, rid)) {{norowid}};
CREATE INDEX idx_ref_t ON idx_ref (part, ttype, tid, param, type_no, rid);
CREATE INDEX idx_ref_r ON idx_ref (part, rid, param, ttype, tid);
CREATE TABLE idx_date (part BIGINT NOT NULL, pat BIGINT NOT NULL, type_no BIGINT NOT NULL, param BIGINT NOT NULL,
  lo BIGINT NOT NULL, hi BIGINT NOT NULL, rid BIGINT NOT NULL, PRIMARY KEY (part, pat, type_no, param, lo, hi, rid)) {{norowid}};
CREATE INDEX idx_date_v ON idx_date (part, type_no, param, lo, hi, rid);
CREATE INDEX idx_date_r ON idx_date (part, rid, param, lo, hi);
CREATE TABLE idx_string (part BIGINT NOT NULL, pat BIGINT NOT NULL, type_no BIGINT NOT NULL, param BIGINT NOT NULL,
  folded {{text}} NOT NULL, exact {{text}} NOT NULL, rid BIGINT NOT NULL, PRIMARY KEY (part, pat, type_no, param, folded, exact, rid)) {{norowid}};
CREATE INDEX idx_string_v ON idx_string (part, type_no, param, folded, rid);
CREATE INDEX idx_string_r ON idx_string (part, rid, param, folded, exact);

-- Consent in the query plan. epoch rises with every change of a patient's facts or segments.
CREATE TABLE patient_state (part BIGINT NOT NULL, pat BIGINT NOT NULL, epoch BIGINT NOT NULL, PRIMARY KEY (part, pat)) {{norowid}};
CREATE TABLE patient_segment (part BIGINT NOT NULL, pat BIGINT NOT NULL, seg BIGINT NOT NULL, PRIMARY KEY (part, pat, seg)) {{norowid}};
CREATE TABLE grants (
  part BIGINT NOT NULL, pat BIGINT NOT NULL, org BIGINT NOT NULL, purpose BIGINT NOT NULL, seg BIGINT NOT NULL,
  type_no BIGINT NOT NULL, effect SMALLINT NOT NULL, vfrom BIGINT NOT NULL, vto BIGINT NOT NULL,
  dlo BIGINT NOT NULL, dhi BIGINT NOT NULL, rfrom BIGINT NOT NULL, rto BIGINT NOT NULL,
  PRIMARY KEY (part, pat, org, purpose, seg, type_no, effect, rto, vfrom, dlo, dhi, rfrom)) {{norowid}};

-- OAuth state.
CREATE TABLE oauth_token (signature {{text}} NOT NULL PRIMARY KEY, request_id {{text}} NOT NULL, expires BIGINT NOT NULL, body {{text}} NOT NULL);
CREATE INDEX oauth_token_request ON oauth_token (request_id);
CREATE INDEX oauth_token_expires ON oauth_token (expires);
CREATE TABLE oauth_assertion (issuer {{text}} NOT NULL, jti {{text}} NOT NULL, expires BIGINT NOT NULL, PRIMARY KEY (issuer, jti));
CREATE INDEX oauth_assertion_expires ON oauth_assertion (expires);

-- Audit log. A leaf is durable first and numbered later.
CREATE TABLE audit_leaf (id {{text}} NOT NULL PRIMARY KEY, seq BIGINT NOT NULL, at BIGINT NOT NULL, salt {{blob}},
  event {{blob}}, data {{blob}} NOT NULL, idx BIGINT);
CREATE UNIQUE INDEX audit_leaf_idx ON audit_leaf (idx);
CREATE INDEX audit_leaf_open ON audit_leaf (seq) WHERE idx IS NULL;
CREATE TABLE audit_hash (pos BIGINT NOT NULL PRIMARY KEY, hash {{blob}} NOT NULL);
CREATE TABLE audit_checkpoint (size BIGINT NOT NULL PRIMARY KEY, note {{blob}} NOT NULL);
CREATE TABLE audit_lease (name {{text}} NOT NULL PRIMARY KEY, holder {{text}} NOT NULL, fence BIGINT NOT NULL, expires BIGINT NOT NULL);
INSERT INTO audit_lease (name,holder,fence,expires) VALUES ('sequencer','',0,0);

-- Deliveries to partners.
CREATE TABLE delivery (part BIGINT NOT NULL, did BIGINT NOT NULL, partner {{text}} NOT NULL, pat BIGINT NOT NULL, state {{text}} NOT NULL,
  next_at BIGINT NOT NULL, body {{text}} NOT NULL, PRIMARY KEY (part, did));
CREATE INDEX delivery_due ON delivery (part, state, next_at);
CREATE INDEX delivery_lane ON delivery (part, partner, pat, did);
