-- Removes what happens after as_of.
CREATE TEMP TABLE later AS SELECT hadm_id FROM admissions WHERE admittime > getvariable('as_of');
DELETE FROM diagnoses_icd WHERE hadm_id IN (FROM later);
DELETE FROM drgcodes WHERE hadm_id IN (FROM later);
DELETE FROM labevents WHERE charttime > getvariable('as_of');
DELETE FROM prescriptions WHERE startdate > getvariable('as_of');
DELETE FROM services WHERE transfertime > getvariable('as_of');
DELETE FROM icustays WHERE intime > getvariable('as_of');
DELETE FROM admissions WHERE admittime > getvariable('as_of');
