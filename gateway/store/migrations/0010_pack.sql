-- A start asks whether a record is under other label rules than its own. Without this it read every record to hear that none is.
CREATE INDEX res_pack ON res (part, pack) WHERE ver>0;
