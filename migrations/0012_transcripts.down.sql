ALTER TABLE blobs DROP COLUMN transcript;
