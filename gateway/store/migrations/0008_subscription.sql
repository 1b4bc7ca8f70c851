-- Subscriptions as they are served, made of the resources in the transaction that writes them. state is the resource's
-- status; events is how many its subscriber was told of, or would have been; beat is when the next heartbeat is due. What
-- is owed to a subscriber stands in delivery, in a lane of its own, and has no number before it is sent.
CREATE TABLE subscription (
  part SMALLINT NOT NULL, id {{text}} NOT NULL, type {{text}} NOT NULL, client {{text}} NOT NULL, state {{text}} NOT NULL,
  events BIGINT NOT NULL, beat BIGINT NOT NULL, body {{text}} NOT NULL, PRIMARY KEY (part, id)) {{norowid}};
CREATE INDEX subscription_type ON subscription (part, type, id);
CREATE INDEX subscription_client ON subscription (part, client);
CREATE INDEX subscription_beat ON subscription (part, state, beat);
-- The last events of each, by number: which record they were about.
CREATE TABLE subscription_event (
  part SMALLINT NOT NULL, sub {{text}} NOT NULL, no BIGINT NOT NULL, type {{text}} NOT NULL, id {{text}} NOT NULL,
  PRIMARY KEY (part, sub, no)) {{norowid}};
