WITH b0 AS (SELECT CAST(t4."product" AS text) AS d0, SUM(t4."pieces") AS m0
  FROM (SELECT r1.* FROM "order_lines" AS r1 WHERE ((EXISTS (SELECT 1 FROM "orders" AS x2 WHERE r1."order_id" = x2."id" AND ((EXISTS (SELECT 1 FROM "customers" AS x3 WHERE x2."customer_id" = x3."id" AND ((CAST(x3."rep" AS text) IN ($1)))))))))) AS t4
  LEFT JOIN (SELECT r5.* FROM "orders" AS r5 WHERE ((EXISTS (SELECT 1 FROM "customers" AS x6 WHERE r5."customer_id" = x6."id" AND ((CAST(x6."rep" AS text) IN ($2))))))) AS t7 ON t4."order_id" = t7."id"
  WHERE t7."status" IN ($3, $4)
  GROUP BY 1)
SELECT * FROM (SELECT d0 AS c0, m0 AS c1 FROM b0) AS o
ORDER BY (c0 IS NULL), c0 COLLATE "C" ASC
LIMIT 101
-- []interface {}{"ada", "ada", "open", "shipped"}

SELECT to_char(CAST(MAX(f."placed_at") AS timestamptz), 'YYYY-MM-DD"T"HH24:MI:SS"Z"') FROM (SELECT r1.* FROM "orders" AS r1 WHERE ((EXISTS (SELECT 1 FROM "customers" AS x2 WHERE r1."customer_id" = x2."id" AND ((CAST(x2."rep" AS text) IN ($1))))))) AS f WHERE f."placed_at" <= now()
-- []interface {}{"ada"}

