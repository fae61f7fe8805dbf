-- Courses and what students click: days are numbers since the course began, called dates, some before it; keys of two and
-- three columns.
-- key: courses(code_module, code_presentation)
-- key: assessments(id_assessment)
-- key: vle(id_site)
-- key: studentInfo(code_module, code_presentation, id_student)
-- link: assessments(code_module, code_presentation) -> courses(code_module, code_presentation)
-- link: vle(code_module, code_presentation) -> courses(code_module, code_presentation)
-- link: studentInfo(code_module, code_presentation) -> courses(code_module, code_presentation)
-- link: studentVle(id_site) -> vle(id_site)
-- link: studentVle(code_module, code_presentation, id_student) -> studentInfo(code_module, code_presentation, id_student)
-- link: studentAssessment(id_assessment) -> assessments(id_assessment)
-- time: studentVle(TIMESTAMP '2000-01-01' + to_days(CAST("date" AS INTEGER)))
-- time: studentAssessment(TIMESTAMP '2000-01-01' + to_days(CAST("date_submitted" AS INTEGER)))
-- also: studentAssessment(id_assessment, id_student)
-- also: studentVle(id_student, id_site)
-- also: studentVle(code_module, code_presentation) -> courses(code_module, code_presentation)
CREATE TABLE courses AS SELECT m AS code_module, p AS code_presentation, 234 + pick(m || p, 35) AS module_presentation_length FROM unnest(['AAA', 'BBB', 'CCC', 'DDD', 'EEE', 'FFF']) t(m), unnest(['2013B', '2013J', '2014B', '2014J']) s(p);
CREATE TABLE assessments AS SELECT code_module, code_presentation, row_number() OVER (ORDER BY code_module, code_presentation, j) + 1751 AS id_assessment, ['TMA', 'CMA', 'TMA', 'Exam'][1 + j] AS assessment_type, CASE WHEN j < 3 THEN 19 + 45 * j + pick(code_module || code_presentation || j, 10) END AS date, 25.0 AS weight FROM courses, range(4) r(j);
CREATE TABLE vle AS SELECT row_number() OVER (ORDER BY code_module, code_presentation, j) + 546000 AS id_site, code_module, code_presentation, ['resource', 'url', 'quiz'][1 + pick(code_module || j, 3)] AS activity_type FROM courses, range(20) r(j);
CREATE TABLE studentInfo AS SELECT code_module, code_presentation, 11000 + i AS id_student, ['M', 'F'][1 + pick(i, 2)] AS gender, ['Pass', 'Withdrawn', 'Fail'][1 + pick(i || code_module, 3)] AS final_result FROM courses, range(900) r(i) WHERE pick(i || code_module || code_presentation, 14) = 0;
CREATE TABLE studentAssessment AS SELECT a.id_assessment, s.id_student, a.date - pick(s.id_student || 'x' || a.id_assessment, 6) + 2 AS date_submitted, 40 + pick(s.id_student || 's' || a.id_assessment, 60) AS score FROM studentInfo s JOIN assessments a USING (code_module, code_presentation) WHERE a.date IS NOT NULL;
CREATE TABLE studentVle AS SELECT s.code_module, s.code_presentation, s.id_student, v.id_site, pick(s.id_student || 'v' || v.id_site, 260) - 20 AS date, 1 + pick(s.id_student || 'c' || v.id_site, 9) AS sum_click FROM studentInfo s JOIN vle v USING (code_module, code_presentation) WHERE pick(s.id_student || 'w' || v.id_site, 10) < 4;
