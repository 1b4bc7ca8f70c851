-- Bulk jobs. spec says what is asked and by whom and never changes; progress says how far it is. Whoever holds the
-- lease works on the job; a page of it, its audit leaf and the new progress are one transaction.
CREATE TABLE bulk_job (
  job {{text}} NOT NULL PRIMARY KEY, client {{text}} NOT NULL, state {{text}} NOT NULL, holder {{text}} NOT NULL,
  created BIGINT NOT NULL, ended BIGINT NOT NULL, expires BIGINT NOT NULL, lease BIGINT NOT NULL, touched BIGINT NOT NULL,
  spec {{blob}} NOT NULL, progress {{blob}} NOT NULL);
CREATE INDEX bulk_job_client ON bulk_job (client, state);
CREATE INDEX bulk_job_state ON bulk_job (state, touched);
-- A file is its chunks in order: lines compressed, and the row key each line is a version of (0 for none).
CREATE TABLE bulk_chunk (job {{text}} NOT NULL, file INTEGER NOT NULL, no INTEGER NOT NULL, n BIGINT NOT NULL,
  keys {{blob}} NOT NULL, doc {{blob}} NOT NULL, PRIMARY KEY (job, file, no));

-- Custom search parameters, made of the operator's SearchParameter resources; counter 'parameters' rises with every change,
-- so that replicas know when to read them again. state: indexing, ready or removing. next is the row key up to which a
-- batch has come: a batch, its index rows and next are one transaction.
CREATE TABLE search_parameter (
  id {{text}} NOT NULL PRIMARY KEY, state {{text}} NOT NULL, changed BIGINT NOT NULL, next BIGINT NOT NULL, done BIGINT NOT NULL,
  total BIGINT NOT NULL, body {{text}} NOT NULL);
