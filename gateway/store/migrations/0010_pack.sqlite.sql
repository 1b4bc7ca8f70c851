-- Before the index is made: one without proportions would be taken for a search by part alone.
INSERT INTO sqlite_stat1 (tbl,idx,stat) VALUES ('res','res_pack','1000000 1000000 500000');
ANALYZE sqlite_schema;
