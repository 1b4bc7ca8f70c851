-- SQLite plans by statistics, and without any it searches res by part alone. These are the proportions of
-- a well-used installation, written once: ANALYZE on real data would also fill sqlite_stat4, whose samples
-- make SQLite plan every statement anew for each value bound.
ANALYZE;
DELETE FROM sqlite_stat1;
INSERT INTO sqlite_stat1 (tbl,idx,stat) VALUES
  ('res','res','1000000 1000000 1'),
  ('res','res_id','1000000 1000000 50000 1'),
  ('res','res_pat','1000000 1000000 100 20 2 1'),
  ('res','res_type','1000000 1000000 50000 1'),
  ('res_also','res_also','1000 1000 1 1'),
  ('res_also','res_also_pat','1000 1000 2 1'),
  ('body','body_ver','1200000 1200000 2 1'),
  ('idx_token','idx_token','8000000 8000000 800 20 10 1 1'),
  ('idx_token','idx_token_v','8000000 8000000 50000 5000 1 1 1'),
  ('idx_ref','idx_ref','4000000 4000000 400 20 10 1'),
  ('idx_ref','idx_ref_t','4000000 4000000 20 10 1 1'),
  ('idx_uri','idx_uri','1000000 1000000 100 20 10 1'),
  ('idx_uri','idx_uri_v','1000000 1000000 50000 5000 1 1'),
  ('idx_date','idx_date','1500000 1500000 150 20 2 2 1'),
  ('idx_date','idx_date_v','1500000 1500000 50000 50 50 1 1'),
  ('idx_number','idx_number','500000 500000 50 10 5 2 2 1'),
  ('idx_number','idx_number_v','500000 500000 50000 5000 50 50 1 1'),
  ('idx_string','idx_string','500000 500000 50 10 2 2 1'),
  ('idx_string','idx_string_v','500000 500000 50000 10 1 1 1'),
  ('idx_element','idx_element','200000 200000 20 10 5 2 2 2 2 2 2 2 1'),
  ('idx_element','idx_element_v','200000 200000 20000 2000 500 1 1 1 1 1 1 1 1'),
  ('grants','grants','1000000 1000000 50 10 3 2 1 1 1 1 1 1 1'),
  ('patient_state','patient_state','50000 50000 1'),
  ('patient_segment','patient_segment','200000 200000 4 1'),
  ('dict','sqlite_autoindex_dict_1','2000 400 1'),
  ('dict','dict_name','2000 400 1');
ANALYZE sqlite_schema;
