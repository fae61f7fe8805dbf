-- Hospital stays: every table has a row_id from 1 to n, which links nothing; patients are known by subject_id.
-- key: patients(subject_id) or patients(row_id)
-- key: admissions(hadm_id) or admissions(row_id)
-- key: icustays(icustay_id) or icustays(row_id)
-- key: d_items(itemid) or d_items(row_id)
-- key: d_icd_diagnoses(icd9_code) or d_icd_diagnoses(row_id)
-- key: chartevents(row_id)
-- key: diagnoses_icd(row_id)
-- link: admissions(subject_id) -> patients(subject_id)
-- link: icustays(subject_id) -> patients(subject_id)
-- link: icustays(hadm_id) -> admissions(hadm_id)
-- link: chartevents(subject_id) -> patients(subject_id)
-- link: chartevents(hadm_id) -> admissions(hadm_id)
-- link: chartevents(icustay_id) -> icustays(icustay_id)
-- link: chartevents(itemid) -> d_items(itemid)
-- link: diagnoses_icd(subject_id) -> patients(subject_id)
-- link: diagnoses_icd(hadm_id) -> admissions(hadm_id)
-- link: diagnoses_icd(icd9_code) -> d_icd_diagnoses(icd9_code)
-- time: admissions(admittime)
-- time: icustays(intime)
-- time: chartevents(charttime)
-- time: diagnoses_icd(admissions.admittime)
CREATE TABLE patients AS SELECT i AS row_id, 10000 + i * 3 + pick(i, 3) AS subject_id, ['F', 'M'][1 + pick(i, 2)] AS gender,
    DATE '1930-01-01' + pick(i || 'b', 18000) AS dob, pick(i || 'e', 2) AS expire_flag FROM range(1, 101) r(i);
CREATE TABLE admissions AS SELECT i AS row_id, p.subject_id, 140000 + i * 5 + pick(i, 5) AS hadm_id,
    TIMESTAMP '2100-01-01' + INTERVAL (i * 7 + pick(i, 5)) DAY AS admittime,
    TIMESTAMP '2100-01-03' + INTERVAL (i * 7 + pick(i, 9)) DAY AS dischtime,
    ['EMERGENCY', 'ELECTIVE'][1 + pick(i || 't', 2)] AS admission_type
    FROM range(1, 151) r(i) JOIN patients p ON p.row_id = 1 + pick(i || 'p', 100);
CREATE TABLE icustays AS SELECT i AS row_id, a.subject_id, a.hadm_id, 200000 + i * 7 + pick(i, 7) AS icustay_id,
    a.admittime + INTERVAL (pick(i, 20)) HOUR AS intime, pick(i, 90) / 10 AS los
    FROM range(1, 181) r(i) JOIN admissions a ON a.row_id = 1 + pick(i || 'a', 150);
CREATE TABLE d_items AS SELECT i AS row_id, 220000 + i * 11 AS itemid, 'item ' || i AS label FROM range(1, 121) r(i);
CREATE TABLE chartevents AS SELECT i AS row_id, s.subject_id, s.hadm_id, s.icustay_id, 220000 + 11 * (1 + pick(i, 90)) AS itemid,
    s.intime + INTERVAL (pick(i, 900)) MINUTE AS charttime, pick(i, 300) / 3 AS valuenum
    FROM range(1, 3001) r(i) JOIN icustays s ON s.row_id = 1 + pick(i || 's', 180);
CREATE TABLE d_icd_diagnoses AS SELECT i AS row_id, (1000 + i * 17)::VARCHAR AS icd9_code, 'diagnosis number ' || i AS long_title
    FROM range(1, 201) r(i);
CREATE TABLE diagnoses_icd AS SELECT i AS row_id, a.subject_id, a.hadm_id, 1 + pick(i || 'n', 9) AS seq_num,
    (1000 + 17 * (1 + pick(i, 200)))::VARCHAR AS icd9_code
    FROM range(1, 901) r(i) JOIN admissions a ON a.row_id = 1 + pick(i || 'a', 150);
