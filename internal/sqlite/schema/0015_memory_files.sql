-- What is forgotten goes from checkpoints too: journals that were looked through before that are looked through once more.
UPDATE memory_shown SET unshow = 1 WHERE forgotten > 0;
