-- Removes what happens after as_of.
DELETE FROM goalscorers WHERE date > getvariable('as_of');
DELETE FROM shootouts WHERE date > getvariable('as_of');
DELETE FROM results WHERE date > getvariable('as_of');
