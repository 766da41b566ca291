WITH b0 AS (SELECT CAST(t5."country" AS text) AS d0, SUM(CASE WHEN (t3."status" IS NULL OR t3."status" <> $3) THEN t3."amount" END) AS m0, COUNT(1) AS m1
  FROM (SELECT r1.* FROM "orders" AS r1 WHERE ((EXISTS (SELECT 1 FROM "customers" AS x2 WHERE r1."customer_id" = x2."id" AND ((CAST(x2."rep" AS text) IN ($1))))))) AS t3
  LEFT JOIN (SELECT r4.* FROM "customers" AS r4 WHERE ((CAST(r4."rep" AS text) IN ($2)))) AS t5 ON t3."customer_id" = t5."id"
  GROUP BY 1),
b1 AS (SELECT CAST(t14."country" AS text) AS d0, SUM(t9."pieces") AS m2
  FROM (SELECT r6.* FROM "order_lines" AS r6 WHERE ((EXISTS (SELECT 1 FROM "orders" AS x7 WHERE r6."order_id" = x7."id" AND ((EXISTS (SELECT 1 FROM "customers" AS x8 WHERE x7."customer_id" = x8."id" AND ((CAST(x8."rep" AS text) IN ($4)))))))))) AS t9
  LEFT JOIN (SELECT r10.* FROM "orders" AS r10 WHERE ((EXISTS (SELECT 1 FROM "customers" AS x11 WHERE r10."customer_id" = x11."id" AND ((CAST(x11."rep" AS text) IN ($5))))))) AS t12 ON t9."order_id" = t12."id"
  LEFT JOIN (SELECT r13.* FROM "customers" AS r13 WHERE ((CAST(r13."rep" AS text) IN ($6)))) AS t14 ON t12."customer_id" = t14."id"
  GROUP BY 1),
u AS (SELECT d0, MAX(m0) AS m0, MAX(m1) AS m1, MAX(m2) AS m2 FROM (SELECT d0, m0, m1, (SELECT m2 FROM b1 WHERE 1=0) AS m2 FROM b0 UNION ALL SELECT d0, (SELECT m0 FROM b0 WHERE 1=0) AS m0, (SELECT m1 FROM b0 WHERE 1=0) AS m1, m2 FROM b1) AS p GROUP BY 1)
SELECT * FROM (SELECT d0 AS c0, (CAST(COALESCE(m0, '0') AS numeric) / NULLIF(CAST(COALESCE(m1, '0') AS numeric), 0)) AS c1, (CAST(COALESCE(m0, '0') AS numeric) / NULLIF(CAST(COALESCE(m2, '0') AS numeric), 0)) AS c2 FROM u) AS o
ORDER BY (c1 IS NULL), c1 DESC, (c0 IS NULL), c0 COLLATE "C" ASC
LIMIT 6
-- []interface {}{"ada", "ada", "cancelled", "ada", "ada", "ada"}

SELECT to_char(CAST(MAX(f."placed_at") AS timestamptz), 'YYYY-MM-DD"T"HH24:MI:SS"Z"') FROM (SELECT r1.* FROM "orders" AS r1 WHERE ((EXISTS (SELECT 1 FROM "customers" AS x2 WHERE r1."customer_id" = x2."id" AND ((CAST(x2."rep" AS text) IN ($1))))))) AS f WHERE f."placed_at" <= now()
-- []interface {}{"ada"}

