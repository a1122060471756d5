package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"porchlight/server"
)

type userCmd struct {
	Add        userAddCmd        `cmd:"" help:"Make an account."`
	List       userListCmd       `cmd:"" help:"List the accounts."`
	Passwd     userPasswdCmd     `cmd:"" help:"Give an account another password."`
	Deactivate userDeactivateCmd `cmd:"" help:"Close an account for good."`
	Lock       userLockCmd       `cmd:"" help:"Let an account do nothing but log out."`
	Unlock     userUnlockCmd     `cmd:"" help:"Undo a lock."`
	Suspend    userSuspendCmd    `cmd:"" help:"Let an account only read and leave."`
	Unsuspend  userUnsuspendCmd  `cmd:"" help:"Undo a suspension."`
	Admin      userAdminCmd      `cmd:"" help:"Let an account administer the house, or not any more."`
	Owner      userOwnerCmd      `cmd:"" help:"Make another account the owner of the server."`
}

// passwordFlags are the ways to give a password; without any, one is made up and printed.
type passwordFlags struct {
	Password      string `help:"Password. Others on this machine can see it while the command runs." placeholder:"TEXT"`
	PasswordStdin bool   `help:"Read the password from the first line of standard input."`
}

func (p passwordFlags) password() (string, error) {
	if !p.PasswordStdin {
		return p.Password, nil
	}
	line, err := bufio.NewReader(os.Stdin).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("read the password: %w", err)
	}
	if line = strings.TrimRight(line, "\r\n"); line == "" {
		return "", errors.New("there is no password on standard input")
	}
	return line, nil
}

type userAddCmd struct {
	serverFlag
	passwordFlags
	Name  string `arg:"" help:"What stands between @ and the colon."`
	Admin bool   `help:"May administer the house."`
}

// Run makes an account.
func (u *userAddCmd) Run(ctx context.Context) error {
	password, err := u.password()
	if err != nil {
		return err
	}
	return ask(ctx, u.serverFlag, server.Order{Do: "user add", User: u.Name, Password: password, Admin: u.Admin})
}

type userListCmd struct{ serverFlag }

// Run lists the accounts.
func (u *userListCmd) Run(ctx context.Context) error {
	return ask(ctx, u.serverFlag, server.Order{Do: "user list"})
}

type userPasswdCmd struct {
	serverFlag
	passwordFlags
	Name       string `arg:"" help:"Name or user ID."`
	KeepLogins bool   `help:"Leave devices logged in."`
}

// Run gives an account another password.
func (u *userPasswdCmd) Run(ctx context.Context) error {
	password, err := u.password()
	if err != nil {
		return err
	}
	return ask(ctx, u.serverFlag, server.Order{Do: "user passwd", User: u.Name, Password: password, KeepLogins: u.KeepLogins})
}

type userDeactivateCmd struct {
	serverFlag
	Name  string `arg:"" help:"Name or user ID."`
	Erase bool   `help:"Remove profile and account data, too."`
}

// Run closes an account.
func (u *userDeactivateCmd) Run(ctx context.Context) error {
	return ask(ctx, u.serverFlag, server.Order{Do: "user deactivate", User: u.Name, Erase: u.Erase})
}

// oneUser is the argument of orders about an account.
type oneUser struct {
	serverFlag
	Name string `arg:"" help:"Name or user ID."`
}

type userLockCmd struct{ oneUser }

// Run locks an account.
func (u *userLockCmd) Run(ctx context.Context) error {
	return ask(ctx, u.serverFlag, server.Order{Do: "user lock", User: u.Name})
}

type userUnlockCmd struct{ oneUser }

// Run unlocks an account.
func (u *userUnlockCmd) Run(ctx context.Context) error {
	return ask(ctx, u.serverFlag, server.Order{Do: "user unlock", User: u.Name})
}

type userSuspendCmd struct{ oneUser }

// Run suspends an account.
func (u *userSuspendCmd) Run(ctx context.Context) error {
	return ask(ctx, u.serverFlag, server.Order{Do: "user suspend", User: u.Name})
}

type userUnsuspendCmd struct{ oneUser }

// Run lets a suspended account act again.
func (u *userUnsuspendCmd) Run(ctx context.Context) error {
	return ask(ctx, u.serverFlag, server.Order{Do: "user unsuspend", User: u.Name})
}

type userAdminCmd struct {
	oneUser
	Remove bool `help:"Take the right away."`
}

// Run makes an account an administrator's, or an ordinary one.
func (u *userAdminCmd) Run(ctx context.Context) error {
	return ask(ctx, u.serverFlag, server.Order{Do: "user admin", User: u.Name, Admin: !u.Remove})
}

type userOwnerCmd struct{ oneUser }

// Run hands the server over.
func (u *userOwnerCmd) Run(ctx context.Context) error {
	return ask(ctx, u.serverFlag, server.Order{Do: "user owner", User: u.Name})
}
