-- SQLite plans by statistics, and without any it searches res by part alone. These are the proportions of
-- a well-used installation, written once: ANALYZE on real data would also fill sqlite_stat4, whose samples
-- make SQLite plan every statement anew for each value bound.
ANALYZE;
DELETE FROM sqlite_stat1;
INSERT INTO sqlite_stat1 (tbl,idx,stat) VALUES
  ('res','res','1000000 1000000 1'),
  ('res','res_id','1000000 1000000 50000 1'),
  ('res','res_pat','1000000 1000000 100 20 1'),
  ('res','res_type','1000000 1000000 50000 1'),
  ('res_also','res_also','1000 1000 1 1'),
  ('res_also','res_also_pat','1000 1000 2 1'),
  ('body','sqlite_autoindex_body_1','1200000 1200000 2 1'),
  ('body','body_seq','1200000 1200000 1'),
  ('idx_token','idx_token','8000000 8000000 800 150 20 10 9 1'),
  ('idx_token','idx_token_v','8000000 8000000 400000 50000 5000 5000 1'),
  ('idx_token','idx_token_r','8000000 8000000 8 2 1 1'),
  ('idx_ref','idx_ref','4000000 4000000 400 80 20 20 10 1'),
  ('idx_ref','idx_ref_t','4000000 4000000 400000 100 30 20 1'),
  ('idx_ref','idx_ref_r','4000000 4000000 4 1 1 1'),
  ('idx_date','idx_date','1500000 1500000 150 30 20 2 2 1'),
  ('idx_date','idx_date_v','1500000 1500000 100000 50000 50 50 1'),
  ('idx_date','idx_date_r','1500000 1500000 2 1 1 1'),
  ('idx_string','idx_string','500000 500000 50 50 10 2 2 1'),
  ('idx_string','idx_string_v','500000 500000 100000 50000 10 1'),
  ('idx_string','idx_string_r','500000 500000 5 2 1 1'),
  ('grants','grants','1000000 1000000 50 10 3 2 1 1 1 1 1 1 1'),
  ('patient_state','patient_state','50000 50000 1'),
  ('patient_segment','patient_segment','200000 200000 4 1'),
  ('ident','ident','50000 50000 1'),
  ('ident','ident_rid','50000 1'),
  ('dict','sqlite_autoindex_dict_1','2000 400 1'),
  ('dict','dict_name','2000 400 1'),
  ('audit_leaf','sqlite_autoindex_audit_leaf_1','1000000 1'),
  ('audit_leaf','audit_leaf_idx','1000000 1'),
  ('audit_leaf','audit_leaf_open','1000 1');
ANALYZE sqlite_schema;
