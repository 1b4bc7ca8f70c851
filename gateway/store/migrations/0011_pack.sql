-- A start asks whether a record is under other label rules than its own; without an index it read every record to hear that
-- none is. Keys that are reserved for records to come are under none: -1.
UPDATE res SET pack=-1 WHERE part=0 AND ver=0;
CREATE INDEX res_pack ON res (part, pack);
