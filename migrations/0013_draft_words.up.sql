-- What a draft showed when it was first posted: by that it is known again where nobody saw its id.
ALTER TABLE drafts ADD COLUMN first_text TEXT NOT NULL DEFAULT '';
ALTER TABLE drafts ADD COLUMN first_status TEXT NOT NULL DEFAULT '';
