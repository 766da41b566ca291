package main

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/stead-dev/stead"
)

func (a *app) memoryCmd() *cobra.Command {
	stores := group("stores", "Memory stores: list, create, update, delete", a.memoryStoresList(), a.memoryStoresCreate(), a.memoryStoresUpdate(), a.memoryStoresDelete())
	return group("memory", "What agents remember: stores, and what is in them", stores, a.memoryAdd(), a.memoryList(), a.memorySearch(), a.memoryShow(), a.memoryVersions(),
		a.memoryUpdate(), a.memoryRedact(), a.memoryIngest(), a.memoryForget())
}

func (a *app) memoryStoresList() *cobra.Command {
	var limit int
	c := &cobra.Command{
		Use: "list", Short: "List memory stores, the newest first", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.dial()
			if err != nil {
				return err
			}
			found, err := c.MemoryStores(cmd.Context(), limit)
			if err != nil {
				return err
			}
			raw := []json.RawMessage{}
			var rows [][]string
			for _, s := range found {
				raw = append(raw, s.Raw)
				rows = append(rows, []string{s.ID, oneLine(printable(s.Name), lineRoom(a.width(), len(s.ID)+len("  ")*2+len("100d"))), ago(s.CreatedAt, time.Now())})
			}
			return a.table(raw, "No memory stores. Make one: stead memory stores create NAME", []string{"STORE", "NAME", "AGE"}, rows)
		},
	}
	c.Flags().IntVar(&limit, "limit", 100, "most stores")
	return c
}

func (a *app) memoryStoresCreate() *cobra.Command {
	var description string
	c := &cobra.Command{
		Use: "create NAME", Short: "Create a memory store", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.dial()
			if err != nil {
				return err
			}
			made, err := c.CreateMemoryStore(cmd.Context(), map[string]string{"name": args[0], "description": description})
			if err != nil {
				return err
			}
			return a.object(made.Raw, func(w io.Writer) {
				fmt.Fprintf(w, "%s created\nAdd to it: stead memory add %s \"…\"\n", made.ID, made.ID)
			})
		},
	}
	c.Flags().StringVar(&description, "description", "", "what it is for; agents are told")
	return c
}

func (a *app) memoryStoresUpdate() *cobra.Command {
	var name, description string
	c := &cobra.Command{
		Use: "update STORE", Short: "Change the name of a memory store, or what it is for", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			body := map[string]string{}
			for flag, v := range map[string]string{"name": name, "description": description} {
				if cmd.Flags().Changed(flag) {
					body[flag] = v
				}
			}
			if len(body) == 0 {
				return stead.Invalid("name", "say what changes: --name or --description")
			}
			c, err := a.dial()
			if err != nil {
				return err
			}
			made, err := c.UpdateMemoryStore(cmd.Context(), args[0], body)
			if err != nil {
				return err
			}
			return a.object(made.Raw, func(w io.Writer) { fmt.Fprintf(w, "%s is changed\n", made.ID) })
		},
	}
	c.Flags().StringVar(&name, "name", "", "its name")
	c.Flags().StringVar(&description, "description", "", "what it is for; agents are told")
	return c
}

func (a *app) memoryStoresDelete() *cobra.Command {
	return &cobra.Command{
		Use: "delete STORE", Short: "Forget a store with everything in it", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.dial()
			if err != nil {
				return err
			}
			if err := c.DeleteMemoryStore(cmd.Context(), args[0]); err != nil {
				return err
			}
			return a.object(map[string]any{"id": args[0], "deleted": true}, func(w io.Writer) { fmt.Fprintf(w, "%s and everything in it is forgotten\n", args[0]) })
		},
	}
}
