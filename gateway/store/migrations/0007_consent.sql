-- What consents of a patient single records out by, one mark a line; read under a lock by whoever writes a record of the
-- patient, so that no record misses a mark.
ALTER TABLE patient_state ADD COLUMN marks {{text}} NOT NULL DEFAULT '';
-- Declared emergencies (42 CFR 2.51). Only one of a holder stands at a time; rows are kept. reviewed is 0 until a second
-- person closed it.
CREATE TABLE emergency (id {{text}} NOT NULL PRIMARY KEY, holder {{text}} NOT NULL, patient {{text}} NOT NULL, declared BIGINT NOT NULL, until BIGINT NOT NULL,
  reviewed BIGINT NOT NULL, body {{text}} NOT NULL);
CREATE INDEX emergency_holder ON emergency (holder, declared);
CREATE INDEX emergency_open ON emergency (reviewed, declared);
-- When a head row got another segment without a new version: what it was decided and labelled by then.
CREATE TABLE seg_change (part SMALLINT NOT NULL, rid BIGINT NOT NULL, at BIGINT NOT NULL, seg INTEGER NOT NULL, PRIMARY KEY (part, rid, at)) {{norowid}};
-- Incidents: drafted by the gateway, settled by people. settled is 0 until then.
CREATE TABLE incident (id {{text}} NOT NULL PRIMARY KEY, at BIGINT NOT NULL, settled BIGINT NOT NULL, body {{text}} NOT NULL);
CREATE INDEX incident_open ON incident (settled, at);
