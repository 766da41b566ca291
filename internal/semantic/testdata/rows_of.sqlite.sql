WITH b0 AS (SELECT CAST(t4."product" AS text) AS d0, SUM(t4."pieces") AS m0
  FROM (SELECT r1.* FROM "order_lines" AS r1 WHERE ((EXISTS (SELECT 1 FROM "orders" AS x2 WHERE r1."order_id" = x2."id" AND ((EXISTS (SELECT 1 FROM "customers" AS x3 WHERE x2."customer_id" = x3."id" AND (((x3."rep" IN (?1) AND CAST(x3."rep" AS text) COLLATE BINARY IN (?1))))))))))) AS t4
  LEFT JOIN (SELECT r5.* FROM "orders" AS r5 WHERE ((EXISTS (SELECT 1 FROM "customers" AS x6 WHERE r5."customer_id" = x6."id" AND (((x6."rep" IN (?2) AND CAST(x6."rep" AS text) COLLATE BINARY IN (?2)))))))) AS t7 ON t4."order_id" = t7."id"
  WHERE t7."status" IN (?3, ?4)
  GROUP BY 1)
SELECT * FROM (SELECT d0 AS c0, m0 AS c1 FROM b0) AS o
ORDER BY (c0 IS NULL), c0 ASC
LIMIT 101
-- []interface {}{"ada", "ada", "open", "shipped"}

SELECT strftime('%Y-%m-%dT%H:%M:%SZ', MAX(unixepoch(f."placed_at")), 'unixepoch') FROM (SELECT r1.* FROM "orders" AS r1 WHERE ((EXISTS (SELECT 1 FROM "customers" AS x2 WHERE r1."customer_id" = x2."id" AND (((x2."rep" IN (?1) AND CAST(x2."rep" AS text) COLLATE BINARY IN (?1)))))))) AS f WHERE unixepoch(f."placed_at") <= unixepoch()
-- []interface {}{"ada"}

