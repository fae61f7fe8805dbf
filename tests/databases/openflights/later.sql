-- Removes what happens after as_of.
DELETE FROM flights WHERE src_date + coalesce(src_time, TIME '23:59:59') > getvariable('as_of');
