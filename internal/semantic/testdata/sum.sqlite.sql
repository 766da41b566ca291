WITH b0 AS (SELECT CAST(t4."country" AS text) AS d0, date(t2."placed_at", 'weekday 0', '-6 days') AS d1, SUM(CASE WHEN (t2."status" IS NULL OR t2."status" <> ?1) THEN t2."amount" END) AS m0
  FROM "orders" AS t2
  LEFT JOIN "customers" AS t4 ON t2."customer_id" = t4."id"
  WHERE unixepoch(t2."placed_at") >= ?2 AND unixepoch(t2."placed_at") < ?3
  GROUP BY 1, 2)
SELECT * FROM (SELECT d0 AS c0, d1 AS c1, m0 AS c2 FROM b0) AS o
ORDER BY (c0 IS NULL), c0 ASC, (c1 IS NULL), c1 ASC
LIMIT 101
-- []interface {}{"cancelled", 1767225600, 1775001600}

SELECT strftime('%Y-%m-%dT%H:%M:%SZ', MAX(unixepoch(f."placed_at")), 'unixepoch') FROM "orders" AS f WHERE unixepoch(f."placed_at") <= unixepoch()
-- []interface {}(nil)

