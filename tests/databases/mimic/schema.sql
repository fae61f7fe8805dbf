-- MIMIC-III demo: stays in intensive care. Every table numbers its rows in row_id; patients are subject_id, stays
-- hadm_id. Each patient's dates are shifted by a length of their own, into the years 2100 to 2200, and those who were
-- older than 89 were born 300 years before. Codes have no time.
--
-- key: patients(subject_id) or patients(row_id)
-- key: admissions(hadm_id) or admissions(row_id)
-- key: icustays(icustay_id) or icustays(row_id) or icustays(hadm_id)
-- key: d_icd_diagnoses(icd9_code) or d_icd_diagnoses(row_id)
-- key: d_labitems(itemid) or d_labitems(row_id)
-- key: diagnoses_icd(row_id)
-- key: drgcodes(row_id)
-- key: labevents(row_id)
-- key: prescriptions(row_id)
-- key: services(row_id) or services(hadm_id)
-- key: caregivers(cgid) or caregivers(row_id)
-- link: diagnoses_icd(icd9_code) -> d_icd_diagnoses(icd9_code)
-- link: labevents(itemid) -> d_labitems(itemid)
-- link: admissions(subject_id) -> patients(subject_id)
-- link: icustays(subject_id) -> patients(subject_id)
-- link: diagnoses_icd(subject_id) -> patients(subject_id)
-- link: drgcodes(subject_id) -> patients(subject_id)
-- link: labevents(subject_id) -> patients(subject_id)
-- link: prescriptions(subject_id) -> patients(subject_id)
-- link: services(subject_id) -> patients(subject_id)
-- link: icustays(hadm_id) -> admissions(hadm_id)
-- link: diagnoses_icd(hadm_id) -> admissions(hadm_id)
-- link: drgcodes(hadm_id) -> admissions(hadm_id)
-- link: labevents(hadm_id) -> admissions(hadm_id)
-- link: prescriptions(hadm_id) -> admissions(hadm_id)
-- link: services(hadm_id) -> admissions(hadm_id)
-- time: admissions(admittime)
-- time: icustays(intime)
-- time: labevents(charttime)
-- time: prescriptions(startdate)
-- time: services(transfertime)
-- time: diagnoses_icd(admissions.admittime)
-- time: drgcodes(admissions.admittime)

CREATE TABLE patients AS
SELECT 9467 + i AS row_id, 10006 + 3 * i + below(3, i, 'gap') AS subject_id, ['F', 'M'][1 + i % 2] AS gender,
    first - to_years(CASE WHEN i % 15 = 0 THEN 300 ELSE 30 + below(55, i, 'age') END) AS dob,
    CASE WHEN i % 3 = 0 THEN first + to_days(900 + below(900, i, 'death')) END AS dod,
    CASE WHEN i % 6 = 0 THEN first + to_days(900 + below(900, i, 'death')) END AS dod_hosp,
    CASE WHEN i % 9 = 0 THEN first + to_days(900 + below(900, i, 'death')) END AS dod_ssn,
    (i % 3 = 0)::INTEGER AS expire_flag
FROM (SELECT i, TIMESTAMP '2101-03-01' + to_days(below(36500, i, 'shift')) AS first FROM range(140) r(i));
CREATE TABLE admissions AS
SELECT 12258 + row_number() OVER (ORDER BY subject_id, n) AS row_id, subject_id,
    100000 + 7 * row_number() OVER (ORDER BY md5(subject_id || '/' || n)) AS hadm_id, admittime,
    admittime + to_hours(30 + below(400, subject_id, 'stay', n)) AS dischtime, NULL::TIMESTAMP AS deathtime,
    ['EMERGENCY', 'ELECTIVE', 'URGENT'][1 + below(3, subject_id, 'type', n)] AS admission_type,
    'EMERGENCY ROOM ADMIT' AS admission_location,
    ['HOME', 'SNF', 'REHAB'][1 + below(3, subject_id, 'to', n)] AS discharge_location,
    ['Medicare', 'Private', 'Medicaid'][1 + below(3, subject_id, 'pays')] AS insurance, 'ENGL' AS language,
    CASE WHEN subject_id % 2 = 0 THEN 'CATHOLIC' END AS religion, 'MARRIED' AS marital_status, 'WHITE' AS ethnicity,
    CASE WHEN n % 2 = 0 THEN admittime - to_hours(5) END AS edregtime,
    CASE WHEN n % 2 = 0 THEN admittime END AS edouttime,
    upper(word(subject_id + n, 'diagnosis')) AS diagnosis, 0 AS hospital_expire_flag, 1 AS has_chartevents_data
FROM (
    SELECT subject_id, n, TIMESTAMP '2101-03-01' + to_days(below(36500, i,
    'shift')) + to_days(n * (90 + below(300, i, 'again', n)))
        + to_minutes(below(1440, i, 'minute', n)) AS admittime
    FROM (SELECT row_number() OVER (ORDER BY row_id) - 1 AS i, subject_id FROM patients), range(4) v(n)
    WHERE n <= below(4, i, 'stays')
);
CREATE TABLE icustays AS
SELECT 12742 + row_number() OVER (ORDER BY hadm_id) AS row_id, subject_id, hadm_id,
    200000 + 11 * (hadm_id - 100000) // 7 AS icustay_id,
    'metavision' AS dbsource, ['MICU', 'CCU', 'SICU'][1 + hadm_id % 3] AS first_careunit, 'MICU' AS last_careunit,
    50 + hadm_id % 7 AS first_wardid, 50 + hadm_id % 5 AS last_wardid, admittime + to_hours(1) AS intime,
    admittime + to_hours(25) AS outtime, 1.0 AS los
FROM admissions;
CREATE TABLE d_icd_diagnoses AS
SELECT i + 1 AS row_id, (1000 + 83 * i)::VARCHAR AS icd9_code, word(i, 'ill') || ' NOS' AS short_title,
    'Disease of the ' || word(i, 'organ') || ', unspecified, form ' || i AS long_title
FROM range(90) r(i);
CREATE TABLE diagnoses_icd AS
SELECT 112344 + row_number() OVER (ORDER BY hadm_id, n) AS row_id, subject_id, hadm_id, n AS seq_num,
    (1000 + 83 * below(90, hadm_id, 'code', n))::VARCHAR AS icd9_code
FROM admissions, range(1, 6) c(n);
CREATE TABLE drgcodes AS
SELECT 1338 + row_number() OVER (ORDER BY hadm_id, t) AS row_id, subject_id, hadm_id, ['HCFA', 'MS'][t] AS drg_type,
    (28 + below(400, hadm_id, 'drg', t))::VARCHAR AS drg_code, 'GROUP OF ' || upper(word(hadm_id, 'drg')) AS description
FROM admissions, range(1, 3) types(t);
CREATE TABLE d_labitems AS
SELECT i + 1 AS row_id, 50800 + i AS itemid, word(i, 'substance') AS label, ['Blood', 'Urine'][1 + i % 2] AS fluid,
    ['Chemistry', 'Hematology'][1 + i % 2] AS category, (1000 + i) || '-' || i % 10 AS loinc_code
FROM range(60) r(i);
CREATE TABLE labevents AS
SELECT 6244563 + row_number() OVER (ORDER BY hadm_id, n) AS row_id, subject_id, hadm_id,
    50800 + below(60, hadm_id, 'item', n) AS itemid,
    admittime + to_hours(6 * n) AS charttime, round(100 * draw(hadm_id, 'value', n), 1)::VARCHAR AS value,
    round(100 * draw(hadm_id, 'value', n), 1) AS valuenum, 'mg/dL' AS valueuom,
    CASE WHEN draw(hadm_id, 'flag', n) < 0.3 THEN 'abnormal' END AS flag
FROM admissions, range(5) e(n);
CREATE TABLE prescriptions AS
SELECT 32600 + row_number() OVER (ORDER BY hadm_id, n) AS row_id, subject_id, hadm_id, NULL::INTEGER AS icustay_id,
    date_trunc('day', admittime) + to_days(n::INTEGER) AS startdate,
    date_trunc('day', admittime) + to_days(n::INTEGER + 2) AS enddate,
    'MAIN' AS drug_type, word(below(30, hadm_id, 'drug', n), 'drug') AS drug, '5 mg' AS dose_val_rx
FROM admissions, range(3) p(n);
CREATE TABLE services AS
SELECT 758 + row_number() OVER (ORDER BY hadm_id) AS row_id, subject_id, hadm_id,
    admittime + to_minutes(40) AS transfertime,
    NULL::VARCHAR AS prev_service, ['MED', 'CMED', 'SURG'][1 + hadm_id % 3] AS curr_service
FROM admissions;
CREATE TABLE caregivers AS
SELECT i + 1 AS row_id, 14010 + 5 * i AS cgid, ['RN', 'MD', 'RPH'][1 + i % 3] AS label,
    'Read Only' AS description FROM range(40) r(i);
