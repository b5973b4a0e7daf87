ALTER TABLE drafts DROP COLUMN first_status;
ALTER TABLE drafts DROP COLUMN first_text;
