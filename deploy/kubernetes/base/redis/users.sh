# Puts the password into the list of users, which then is in memory only.
set -eu
umask 077
sed -e "s/@REDIS_PASSWORD@/$REDIS_PASSWORD/" /etc/redis/users.acl >/var/run/redis/users.acl
