-- A blog: all tables begin alike, authors are users, comments answer comments, keys begin with their table.
-- key: wp_users(ID)
-- key: wp_posts(ID)
-- key: wp_comments(comment_ID)
-- key: wp_postmeta(meta_id)
-- key: wp_terms(term_id)
-- key: wp_term_relationships(post_id, term_id)
-- link: wp_posts(user_id) -> wp_users(ID)
-- link: wp_comments(comment_post_ID) -> wp_posts(ID)
-- link: wp_comments(user_id) -> wp_users(ID)
-- link: wp_postmeta(post_id) -> wp_posts(ID)
-- link: wp_term_relationships(post_id) -> wp_posts(ID)
-- link: wp_term_relationships(term_id) -> wp_terms(term_id)
-- time: wp_posts(post_date)
-- time: wp_comments(comment_date)
CREATE TABLE wp_users AS SELECT i AS ID, 'login' || i AS user_login, pick(i, 3) AS user_status FROM range(1, 61) r(i);
CREATE TABLE wp_posts AS SELECT i AS ID, 1 + pick(i, 60) AS user_id, TIMESTAMP '2015-01-01' + INTERVAL (i * 9) HOUR AS post_date, 'slug-' || i AS post_name, 0 AS post_parent, pick(i || 'm', 12) AS menu_order,
    pick(i || 'c', 30) AS comment_count FROM range(1, 1501) r(i);
CREATE TABLE wp_comments AS SELECT i AS comment_ID, 1 + pick(i, 1500) AS comment_post_ID, 'Name ' || pick(i, 300) AS comment_author, TIMESTAMP '2015-02-01' + INTERVAL (i * 4) HOUR AS comment_date, pick(i || 'k', 2) AS comment_karma,
    CASE WHEN pick(i, 4) = 0 THEN 1 + pick(i || 'u', 60) END AS user_id FROM range(1, 3001) r(i);
CREATE TABLE wp_postmeta AS SELECT i AS meta_id, 1 + pick(i, 1500) AS post_id, 'key' || pick(i || 'k', 8) AS meta_key, pick(i || 'v', 900) AS meta_value FROM range(1, 4001) r(i);
CREATE TABLE wp_terms AS SELECT i AS term_id, 'Term ' || i AS name, 0 AS term_group FROM range(1, 81) r(i);
CREATE TABLE wp_term_relationships AS SELECT DISTINCT 1 + pick(i, 1500) AS post_id, 1 + pick(i || 't', 80) AS term_id FROM range(5000) r(i);
