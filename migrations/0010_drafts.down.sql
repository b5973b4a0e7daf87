DROP TABLE files;
DROP INDEX outbox_question;
DROP INDEX outbox_chat;
DROP TABLE drafts;
