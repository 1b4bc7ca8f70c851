-- People who sign in.
CREATE TABLE person (id {{text}} NOT NULL PRIMARY KEY, login {{text}} NOT NULL, upstream {{text}} NOT NULL, body {{text}} NOT NULL);
CREATE UNIQUE INDEX person_login ON person (login);
CREATE INDEX person_upstream ON person (upstream);
-- What people let apps do. revoked is 0 for what stands.
CREATE TABLE app_grant (id {{text}} NOT NULL PRIMARY KEY, person {{text}} NOT NULL, created BIGINT NOT NULL, used BIGINT NOT NULL,
  expires BIGINT NOT NULL, revoked BIGINT NOT NULL, body {{text}} NOT NULL);
CREATE INDEX app_grant_person ON app_grant (person, created);
CREATE INDEX app_grant_unused ON app_grant (used, expires);
-- What is known for a short time under a digest of an unguessable name: codes, pushed requests, launches, sessions, flows.
CREATE TABLE ticket (kind {{text}} NOT NULL, id {{text}} NOT NULL, expires BIGINT NOT NULL, taken SMALLINT NOT NULL, body {{blob}} NOT NULL,
  PRIMARY KEY (kind, id));
CREATE INDEX ticket_expires ON ticket (expires);
-- Attempts counted in slots of time, for rate limits and lockouts.
CREATE TABLE attempt (name {{text}} NOT NULL, slot BIGINT NOT NULL, n BIGINT NOT NULL, expires BIGINT NOT NULL, PRIMARY KEY (name, slot));
CREATE INDEX attempt_expires ON attempt (expires);
-- A refresh token is exchanged once.
ALTER TABLE oauth_token ADD COLUMN used SMALLINT NOT NULL DEFAULT 0;
