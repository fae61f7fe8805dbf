-- Removes what happens after as_of.
DELETE FROM batting WHERE make_date("yearID" + 1, 1, 1) > getvariable('as_of');
DELETE FROM fielding WHERE make_date("yearID" + 1, 1, 1) > getvariable('as_of');
DELETE FROM salaries WHERE make_date("yearID" + 1, 1, 1) > getvariable('as_of');
DELETE FROM awardsplayers WHERE make_date("yearID" + 1, 1, 1) > getvariable('as_of');
DELETE FROM teams WHERE make_date("yearID" + 1, 1, 1) > getvariable('as_of');
