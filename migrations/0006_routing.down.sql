DROP TABLE kept_answers;
ALTER TABLE usage DROP COLUMN purpose;
DROP TABLE model_calls;
ALTER TABLE sessions DROP COLUMN model;
ALTER TABLE users DROP COLUMN model;
