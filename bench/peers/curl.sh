#!/bin/sh
# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# curl to files, one a page: nothing is parsed but the link to the next page. Arguments: a file of curl's options for all
# calls, one for the token, the address of the first page, a directory for the pages.
set -eu
common=$1 token_options=$2 link=$3 pages=$4

token=$(curl --config "$common" --config "$token_options" | sed 's/.*"access_token": *"\([^"]*\)".*/\1/')
printf 'header = "Authorization: Bearer %s"\n' "$token" >>"$common"
number=0
while [ -n "$link" ]; do
    number=$((number + 1))
    page=$(printf '%s/page-%04d.json' "$pages" "$number")
    curl --config "$common" --output "$page" "$link"
    link=$(head -c 2000 "$page" | sed -n 's/.*"@odata.nextLink": *"\([^"]*\)".*/\1/p')
done
