-- What is said in a voice note, once somebody wrote it down.
ALTER TABLE blobs ADD COLUMN transcript TEXT;
