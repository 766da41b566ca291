package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/stead-dev/stead/internal/config"
	sqldb "github.com/stead-dev/stead/internal/database"
	"github.com/stead-dev/stead/internal/database/reader"
	"github.com/stead-dev/stead/internal/tool/sqlquery"
)

// openDatabase is a database of the configuration that agents or sources read.
type openDatabase struct {
	sqldb.Database
	config config.Database
}

// openDatabases opens those that are granted to somebody. closeAll ends their connections.
func openDatabases(cfg *config.Config) (out []*openDatabase, closeAll func(context.Context) error, err error) {
	closeAll = func(context.Context) error {
		var all []error
		for _, d := range out {
			all = append(all, d.Close())
		}
		return errors.Join(all...)
	}
	for _, c := range cfg.AllDatabases() {
		if c.SQL == nil && c.Sources == nil {
			continue
		}
		d, err := reader.Open(sqldb.Config{Name: c.Name, Driver: c.Driver, DSN: c.DSN, Hidden: c.Hidden})
		if err != nil {
			return out, closeAll, fmt.Errorf("databases: %w", err)
		}
		out = append(out, &openDatabase{d, c})
	}
	return out, closeAll, nil
}

// askedDatabases are those that agents may ask.
func askedDatabases(all []*openDatabase) (out []sqlquery.Grant) {
	for _, d := range all {
		if d.config.SQL != nil {
			out = append(out, sqlquery.Grant{Database: d.Database, Projects: projectIDs(d.config.SQL.Projects)})
		}
	}
	return out
}
