-- Removes what happens after as_of.
DELETE FROM payment WHERE payment_date > getvariable('as_of');
DELETE FROM rental WHERE rental_date > getvariable('as_of');
