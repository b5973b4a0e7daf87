DROP INDEX tasks_skill;
DROP TABLE shipped_skills;
DROP TABLE skill_files;
